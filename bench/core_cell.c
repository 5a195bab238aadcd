/* The cell of monitor/stress/cell.py transcribed to C, as a yardstick for the compiled driver: same order of steps, same
   options per row, same blocks of paths. Arrays are those of monitor/stress/sides.py, passed by one struct of pointers.
   Compiled by bench/core.py into a temporary folder. */
#include <math.h>
#include <stdint.h>

#define BLK 256
#define CURED 1e-12
#define IMPACT_CAP 0.5

typedef struct {
  long T, B, K, M2, P, Q;            /* periods, rows, flow columns, pool columns, terms per row of each */
  const int64_t *order, *counts, *flow_columns, *pool_columns;
  const double *flow_weights, *pool_weights;                                  /* (T,B,P), (1,B,Q) */
  const double *flow_const, *pool_const, *service_const, *service_base, *cash_const, *bullet, *bullet_secured, *secured,
      *loan_due, *keep, *drop_cf, *drop_service, *dscr_level, *dscr_counts;   /* (T,B) */
  const double *window_cf, *window_service, *cash, *floor, *coins, *impact, *pledged, *loan, *loan_rate_dt,
      *refi_margin_dt, *call, *cure, *liquidate, *sell_all, *coin_weight, *ltv_level, *liquidity_level, *call_level,
      *maturity_level;                                                        /* (B) */
  const double *margin_scale, *margin_offset;                                 /* (B,32) */
} Rows;

typedef struct { const double *flow, *pool, *growth, *low, *base_dt, *refi_dt, *refi; long width; } Side;
typedef struct { int16_t *first; uint8_t *code; double *margin, *min_dscr, *max_ltv, *min_cash; long width; } Out;

typedef struct {
  double cash[BLK], coins[BLK], pledged[BLK], loan[BLK], rolled[BLK], rolled_secured[BLK], interest[BLK], due[BLK],
      gap[BLK], cf[BLK], pool[BLK], window_cf[BLK], window_service[BLK], event[BLK], value[BLK], min_dscr[BLK],
      max_ltv[BLK], min_cash[BLK];
} State;

static inline double lo(double a, double b) { return a < b ? a : b; }
static inline double hi(double a, double b) { return a > b ? a : b; }

static void linear(double *restrict out, long n, double constant, const int64_t *columns, const double *weights, long terms,
                   const double *x, long width) {
  for (long i = 0; i < n; i++) out[i] = constant;
  for (long k = 0; k < terms; k += 4) {
    const double *a = x + columns[k] * width, *b = x + columns[k + 1] * width;
    const double *c = x + columns[k + 2] * width, *d = x + columns[k + 3] * width;
    double w0 = weights[k], w1 = weights[k + 1], w2 = weights[k + 2], w3 = weights[k + 3];
#pragma omp simd
    for (long i = 0; i < n; i++) out[i] += w0 * a[i] + w1 * b[i] + w2 * c[i] + w3 * d[i];
  }
}

static void side_debts(const Rows *r, long t, long b, long n, const double *growth, const double *low, const double *refi,
                       const double *refi_dt, State *s) {
  long tb = t * r->B + b;
  double margin_dt = r->refi_margin_dt[b], rate_dt = r->loan_rate_dt[b];
#pragma omp simd
  for (long i = 0; i < n; i++) s->interest[i] = s->rolled[i] * (refi_dt[i] + margin_dt) + s->loan[i] * rate_dt;
  if (b < r->counts[0]) {
    double call = r->call[b], cure = r->cure[b], liquidate = r->liquidate[b], all = r->sell_all[b];
#pragma omp simd
    for (long i = 0; i < n; i++) {
      double l = low[i], pledged = s->pledged[i] * growth[i], loan = s->loan[i], cash = s->cash[i], coins = s->coins[i];
      double worth = pledged * l, target = cure * l;
      int gone = loan > liquidate * worth;
      int may = (loan > call * worth) & !gone;
      double posted = may ? lo(hi(loan / target - pledged, 0), coins) : 0;
      pledged += posted;
      double paid = may ? lo(hi(loan - target * pledged, 0), hi(cash, 0)) : 0;
      loan -= paid;
      double lacking = loan - target * pledged;
      int unmet = gone | (may & (lacking > CURED * loan));
      s->gap[i] = unmet ? -lacking / loan : 0;
      double sold = unmet ? (all > 0.5 ? pledged : lo(hi(lacking / (l - target), 0), pledged)) : 0;
      double brought = sold * l, surplus = hi(brought - loan, 0);
      loan = hi(loan - brought, 0);
      pledged -= sold;
      double deficiency = (unmet & (pledged <= 0)) ? loan : 0;
      s->cash[i] = cash - paid + surplus;
      s->coins[i] = coins - posted;
      s->pledged[i] = pledged;
      s->loan[i] = loan - deficiency;
      s->rolled[i] += deficiency;
    }
  }
  double bullet = r->bullet[tb], secured = r->bullet_secured[tb], ends0 = r->loan_due[tb];
#pragma omp simd
  for (long i = 0; i < n; i++) {
    double ends = ends0 * (1 - refi[i]), freed = s->pledged[i] * ends;
    s->due[i] = bullet * (1 - refi[i]) + s->loan[i] * ends;
    s->rolled[i] += bullet * refi[i];
    s->rolled_secured[i] += secured * refi[i];
    s->loan[i] -= s->loan[i] * ends;
    s->pledged[i] -= freed;
    s->coins[i] += freed;
  }
}

static inline __attribute__((always_inline)) void settle(const int has_coins, const Rows *r, long t, long b, long n,
                                                         const double *restrict base_dt, State *restrict s) {
  long tb = t * r->B + b;
  double constant = r->service_const[tb], base = r->service_base[tb], moved = r->cash_const[tb], keep = r->keep[tb];
  double drop_cf = r->drop_cf[tb], drop_service = r->drop_service[tb], level = r->dscr_level[tb], secured = r->secured[tb];
  double floor_ = r->floor[b], impact = r->impact[b], weight = r->coin_weight[b], ltv_level = r->ltv_level[b];
  double cash_level = r->liquidity_level[b], call_level = r->call_level[b], due_level = r->maturity_level[b];
  double when = 32.0 * (double)t;
  int counts = r->dscr_counts[tb] > 0;
#pragma omp simd
  for (long i = 0; i < n; i++) {
    double service = constant + s->interest[i] + base * base_dt[i];
    double wcf = s->window_cf[i] * keep + s->cf[i] + drop_cf, ws = s->window_service[i] * keep + service + drop_service;
    double dscr = ws > 0 ? wcf / ws : INFINITY;
    double cash = s->cash[i] + (s->cf[i] - service - s->due[i] + moved), coins = s->coins[i];
    if (has_coins) {
      double kept = 1 - lo(impact * sqrt(hi(floor_ - cash, 0)), IMPACT_CAP);
      double raised = hi(cash, lo(floor_, cash + coins * kept));
      coins = hi(coins - (raised - cash) / kept, 0);
      cash = raised;
    }
    double debt = secured + s->rolled_secured[i];
    double ltv = debt > 0 ? debt / (s->pool[i] + weight * coins) : 0;
    int low = dscr < level, high = ltv > ltv_level, poor = cash < cash_level, unmet = s->gap[i] < call_level;
    int unpaid = (cash < due_level) & (s->due[i] > 0);
    double code = (low ? 1.0 : 0.0) + (high ? 2.0 : 0.0) + (poor ? 4.0 : 0.0) + (unmet ? 8.0 : 0.0) + (unpaid ? 16.0 : 0.0);
    double broke = low ? dscr : high ? ltv : poor ? cash : unmet ? s->gap[i] : cash;
    int new_ = (code > 0) & (s->event[i] == 0);
    s->event[i] = new_ ? code + when : s->event[i];
    s->value[i] = new_ ? broke : s->value[i];
    s->min_dscr[i] = lo(counts ? dscr : INFINITY, s->min_dscr[i]);
    s->max_ltv[i] = hi(ltv, s->max_ltv[i]);
    s->min_cash[i] = lo(cash, s->min_cash[i]);
    s->cash[i] = cash;
    s->coins[i] = coins;
    s->window_cf[i] = wcf;
    s->window_service[i] = ws;
  }
}

static void row(const Rows *r, const Side *side, long b, long at, long n, State *s) {
  for (long i = 0; i < n; i++) {
    s->cash[i] = r->cash[b]; s->coins[i] = r->coins[b]; s->pledged[i] = r->pledged[b]; s->loan[i] = r->loan[b];
    s->window_cf[i] = r->window_cf[b]; s->window_service[i] = r->window_service[b];
    s->rolled[i] = s->rolled_secured[i] = s->interest[i] = s->due[i] = s->gap[i] = s->event[i] = s->value[i] = 0;
    s->min_dscr[i] = s->min_cash[i] = INFINITY; s->max_ltv[i] = 0;
  }
  int has_coins = b < r->counts[2];
  for (long t = 0; t < r->T; t++) {
    long tb = t * r->B + b, o = t * side->width + at;
    linear(s->cf, n, r->flow_const[tb], r->flow_columns + b * r->P, r->flow_weights + tb * r->P, r->P,
           side->flow + t * r->K * side->width + at, side->width);
    linear(s->pool, n, r->pool_const[tb], r->pool_columns + b * r->Q, r->pool_weights + b * r->Q, r->Q,
           side->pool + t * r->M2 * side->width + at, side->width);
    if (has_coins)
      for (long i = 0; i < n; i++) s->coins[i] *= side->growth[o + i];
    if (b < r->counts[1])
      side_debts(r, t, b, n, side->growth + o, side->low + o, side->refi + o, side->refi_dt + o, s);
    if (has_coins) settle(1, r, t, b, n, side->base_dt + o, s);
    else settle(0, r, t, b, n, side->base_dt + o, s);
  }
}

void over_blocks(const Rows *r, const Side *side, long n, long start, const Out *out) {
#pragma omp parallel for schedule(dynamic, 1)
  for (long at = 0; at < n; at += BLK) {
    State s;
    long m = n - at < BLK ? n - at : BLK;
    for (long b = 0; b < r->B; b++) {
      row(r, side, b, at, m, &s);
      long o = r->order[b] * out->width + start + at;
      for (long i = 0; i < m; i++) {
        long event = (long)s.event[i];
        out->first[o + i] = (int16_t)(event > 0 ? event >> 5 : r->T);
        out->code[o + i] = (uint8_t)(event & 31);
        out->margin[o + i] = s.value[i] * r->margin_scale[b * 32 + (event & 31)] + r->margin_offset[b * 32 + (event & 31)];
        out->min_dscr[o + i] = s.min_dscr[i];
        out->max_ltv[o + i] = s.max_ltv[i];
        out->min_cash[o + i] = s.min_cash[i];
      }
    }
  }
}
