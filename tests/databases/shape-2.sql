-- A small database as version 0.1.0 wrote it while its shape was number 2; a table is never edited here.
BEGIN TRANSACTION;
CREATE TABLE alerts (
    rule TEXT NOT NULL,
    subject TEXT NOT NULL,
    state TEXT NOT NULL,
    active_at TEXT,
    fired_at TEXT,
    keep_since TEXT,
    resolved_at TEXT,
    state_before TEXT,
    nodata_since TEXT,
    served_s REAL NOT NULL,
    seen_at TEXT,
    flaps INTEGER NOT NULL,
    reason TEXT NOT NULL,
    short_id TEXT NOT NULL,
    logic_hash TEXT NOT NULL,
    PRIMARY KEY (rule, subject)
) WITHOUT ROWID;
INSERT INTO "alerts" VALUES('CheapCoins','market','firing','2026-11-01T12:15:00.000000Z','2026-11-01T12:15:00.000000Z',NULL,NULL,NULL,NULL,0.0,NULL,0,'became true; the rule asks for no waiting time','ii7b','d19f481fa6c41d7e');
INSERT INTO "alerts" VALUES('LowCash','alpha','firing','2026-10-02T12:00:00.000000Z','2026-10-02T12:00:00.000000Z',NULL,NULL,NULL,NULL,0.0,NULL,0,'became true; the rule asks for no waiting time','d5u4','4cfca8ace3d83279');
INSERT INTO "alerts" VALUES('LowCash','stub','nodata',NULL,NULL,NULL,NULL,'ok','2026-10-02T12:00:00.000000Z',0.0,NULL,0,'unknown: cash_unrestricted_usd: cash_unrestricted_usd was never reported (or not before 2026-10-02); this rule cannot warn now','kyqp','4cfca8ace3d83279');
CREATE TABLE decisions (
    id INTEGER PRIMARY KEY,
    tick INTEGER NOT NULL REFERENCES ticks (id),
    event_id TEXT NOT NULL,
    route TEXT NOT NULL,
    send INTEGER NOT NULL,
    reason TEXT NOT NULL,
    message_id TEXT NOT NULL,
    UNIQUE (event_id, route, tick)
);
INSERT INTO "decisions" VALUES(1,1793535300000,'11764f785248eebd5638','console',1,'it fired','be518811ad1522728377');
CREATE TABLE events (
    id TEXT PRIMARY KEY,
    at TEXT NOT NULL,
    rule TEXT NOT NULL,
    subject TEXT NOT NULL,
    severity TEXT NOT NULL,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    short_id TEXT NOT NULL,
    "values" TEXT NOT NULL,
    because TEXT NOT NULL,
    episode TEXT NOT NULL
);
INSERT INTO "events" VALUES('951938e051eb5f0a1a6a','2026-10-02T12:00:00.000000Z','LowCash','alpha','critical','fired','became true; the rule asks for no waiting time','ok','firing','d5u4','{"cash_unrestricted_usd": 20000000.0}','','951938e051eb5f0a1a6a');
INSERT INTO "events" VALUES('d01bfeeed7893d1ea2f3','2026-10-02T12:00:00.000000Z','LowCash','stub','critical','nodata','unknown: cash_unrestricted_usd: cash_unrestricted_usd was never reported (or not before 2026-10-02); this rule cannot warn now','ok','nodata','kyqp','{"cash_unrestricted_usd": null}','','');
INSERT INTO "events" VALUES('a38abbe13183c4e5c852','2026-10-02T12:00:00.000000Z','CheapCoins','market','critical','nodata','unknown: btc_usd: btc_usd: last value 86,505 USD is 10 d old (limit 3 d); this rule cannot warn now','ok','nodata','ii7b','{"btc_usd": null}','','');
INSERT INTO "events" VALUES('1d980f22e5dbf1c011e7','2026-11-01T12:00:00.000000Z','CheapCoins','market','critical','data_back','known again; back to what it was','nodata','ok','ii7b','{"btc_usd": 80000.0}','','');
INSERT INTO "events" VALUES('11764f785248eebd5638','2026-11-01T12:15:00.000000Z','CheapCoins','market','critical','fired','became true; the rule asks for no waiting time','ok','firing','ii7b','{"btc_usd": 50000.0}','','11764f785248eebd5638');
CREATE TABLE feed_reports (
    tick INTEGER NOT NULL REFERENCES ticks (id),
    feed TEXT NOT NULL,
    ok INTEGER NOT NULL,
    reason TEXT NOT NULL,
    observations INTEGER NOT NULL,
    seconds REAL NOT NULL,
    newest TEXT,
    PRIMARY KEY (tick, feed)
) WITHOUT ROWID;
INSERT INTO "feed_reports" VALUES(1793534400000,'kraken',1,'',1,0.1,'2026-11-01T12:00:00.000000Z');
INSERT INTO "feed_reports" VALUES(1793535300000,'kraken',1,'',1,0.1,'2026-11-01T12:15:00.000000Z');
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('thinned','2026-11-01');
INSERT INTO "meta" VALUES('word','kept');
CREATE TABLE metric_series (
    id INTEGER PRIMARY KEY,
    metric TEXT NOT NULL,
    subject TEXT NOT NULL,
    scenario TEXT NOT NULL,
    unit TEXT NOT NULL,
    UNIQUE (metric, scenario, subject)
);
INSERT INTO "metric_series" VALUES(1,'debt_usd','alpha','','usd');
INSERT INTO "metric_series" VALUES(2,'debt_usd','stub','','usd');
INSERT INTO "metric_series" VALUES(13,'cash_unrestricted_usd','alpha','','usd');
INSERT INTO "metric_series" VALUES(14,'cash_unrestricted_usd','stub','','usd');
INSERT INTO "metric_series" VALUES(31,'liquidity_locked_12m','alpha','','x');
INSERT INTO "metric_series" VALUES(32,'liquidity_locked_12m','stub','','x');
INSERT INTO "metric_series" VALUES(89,'btc_usd','market','','usd');
INSERT INTO "metric_series" VALUES(117,'pd_12m','alpha','','ratio');
INSERT INTO "metric_series" VALUES(118,'pd_12m','stub','','ratio');
CREATE TABLE metric_values (
    series INTEGER NOT NULL REFERENCES metric_series (id),
    tick INTEGER NOT NULL REFERENCES ticks (id),
    value REAL,
    reason TEXT,
    PRIMARY KEY (series, tick)
) WITHOUT ROWID;
INSERT INTO "metric_values" VALUES(1,1790942400000,400000000.0,NULL);
INSERT INTO "metric_values" VALUES(2,1790942400000,NULL,'debt_usd was never reported (or not before 2026-10-02)');
INSERT INTO "metric_values" VALUES(2,1791028800000,NULL,'debt_usd was never reported (or not before 2026-10-03)');
INSERT INTO "metric_values" VALUES(2,1791115200000,NULL,'debt_usd was never reported (or not before 2026-10-04)');
INSERT INTO "metric_values" VALUES(2,1791201600000,NULL,'debt_usd was never reported (or not before 2026-10-05)');
INSERT INTO "metric_values" VALUES(2,1791288000000,NULL,'debt_usd was never reported (or not before 2026-10-06)');
INSERT INTO "metric_values" VALUES(2,1791374400000,NULL,'debt_usd was never reported (or not before 2026-10-07)');
INSERT INTO "metric_values" VALUES(2,1791460800000,NULL,'debt_usd was never reported (or not before 2026-10-08)');
INSERT INTO "metric_values" VALUES(2,1791547200000,NULL,'debt_usd was never reported (or not before 2026-10-09)');
INSERT INTO "metric_values" VALUES(2,1791633600000,NULL,'debt_usd was never reported (or not before 2026-10-10)');
INSERT INTO "metric_values" VALUES(2,1791720000000,NULL,'debt_usd was never reported (or not before 2026-10-11)');
INSERT INTO "metric_values" VALUES(2,1791806400000,NULL,'debt_usd was never reported (or not before 2026-10-12)');
INSERT INTO "metric_values" VALUES(2,1791892800000,NULL,'debt_usd was never reported (or not before 2026-10-13)');
INSERT INTO "metric_values" VALUES(2,1791979200000,NULL,'debt_usd was never reported (or not before 2026-10-14)');
INSERT INTO "metric_values" VALUES(2,1792065600000,NULL,'debt_usd was never reported (or not before 2026-10-15)');
INSERT INTO "metric_values" VALUES(2,1792152000000,NULL,'debt_usd was never reported (or not before 2026-10-16)');
INSERT INTO "metric_values" VALUES(2,1792238400000,NULL,'debt_usd was never reported (or not before 2026-10-17)');
INSERT INTO "metric_values" VALUES(2,1792324800000,NULL,'debt_usd was never reported (or not before 2026-10-18)');
INSERT INTO "metric_values" VALUES(2,1792411200000,NULL,'debt_usd was never reported (or not before 2026-10-19)');
INSERT INTO "metric_values" VALUES(2,1792497600000,NULL,'debt_usd was never reported (or not before 2026-10-20)');
INSERT INTO "metric_values" VALUES(2,1792584000000,NULL,'debt_usd was never reported (or not before 2026-10-21)');
INSERT INTO "metric_values" VALUES(2,1792670400000,NULL,'debt_usd was never reported (or not before 2026-10-22)');
INSERT INTO "metric_values" VALUES(2,1792756800000,NULL,'debt_usd was never reported (or not before 2026-10-23)');
INSERT INTO "metric_values" VALUES(2,1792843200000,NULL,'debt_usd was never reported (or not before 2026-10-24)');
INSERT INTO "metric_values" VALUES(2,1792929600000,NULL,'debt_usd was never reported (or not before 2026-10-25)');
INSERT INTO "metric_values" VALUES(2,1793016000000,NULL,'debt_usd was never reported (or not before 2026-10-26)');
INSERT INTO "metric_values" VALUES(2,1793102400000,NULL,'debt_usd was never reported (or not before 2026-10-27)');
INSERT INTO "metric_values" VALUES(2,1793188800000,NULL,'debt_usd was never reported (or not before 2026-10-28)');
INSERT INTO "metric_values" VALUES(2,1793275200000,NULL,'debt_usd was never reported (or not before 2026-10-29)');
INSERT INTO "metric_values" VALUES(2,1793361600000,NULL,'debt_usd was never reported (or not before 2026-10-30)');
INSERT INTO "metric_values" VALUES(2,1793448000000,NULL,'debt_usd was never reported (or not before 2026-10-31)');
INSERT INTO "metric_values" VALUES(2,1793534400000,NULL,'debt_usd was never reported (or not before 2026-11-01)');
INSERT INTO "metric_values" VALUES(13,1790942400000,20000000.0,NULL);
INSERT INTO "metric_values" VALUES(14,1790942400000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-02)');
INSERT INTO "metric_values" VALUES(14,1791028800000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-03)');
INSERT INTO "metric_values" VALUES(14,1791115200000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-04)');
INSERT INTO "metric_values" VALUES(14,1791201600000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-05)');
INSERT INTO "metric_values" VALUES(14,1791288000000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-06)');
INSERT INTO "metric_values" VALUES(14,1791374400000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-07)');
INSERT INTO "metric_values" VALUES(14,1791460800000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-08)');
INSERT INTO "metric_values" VALUES(14,1791547200000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-09)');
INSERT INTO "metric_values" VALUES(14,1791633600000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-10)');
INSERT INTO "metric_values" VALUES(14,1791720000000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-11)');
INSERT INTO "metric_values" VALUES(14,1791806400000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-12)');
INSERT INTO "metric_values" VALUES(14,1791892800000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-13)');
INSERT INTO "metric_values" VALUES(14,1791979200000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-14)');
INSERT INTO "metric_values" VALUES(14,1792065600000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-15)');
INSERT INTO "metric_values" VALUES(14,1792152000000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-16)');
INSERT INTO "metric_values" VALUES(14,1792238400000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-17)');
INSERT INTO "metric_values" VALUES(14,1792324800000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-18)');
INSERT INTO "metric_values" VALUES(14,1792411200000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-19)');
INSERT INTO "metric_values" VALUES(14,1792497600000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-20)');
INSERT INTO "metric_values" VALUES(14,1792584000000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-21)');
INSERT INTO "metric_values" VALUES(14,1792670400000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-22)');
INSERT INTO "metric_values" VALUES(14,1792756800000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-23)');
INSERT INTO "metric_values" VALUES(14,1792843200000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-24)');
INSERT INTO "metric_values" VALUES(14,1792929600000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-25)');
INSERT INTO "metric_values" VALUES(14,1793016000000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-26)');
INSERT INTO "metric_values" VALUES(14,1793102400000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-27)');
INSERT INTO "metric_values" VALUES(14,1793188800000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-28)');
INSERT INTO "metric_values" VALUES(14,1793275200000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-29)');
INSERT INTO "metric_values" VALUES(14,1793361600000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-30)');
INSERT INTO "metric_values" VALUES(14,1793448000000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-31)');
INSERT INTO "metric_values" VALUES(14,1793534400000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-11-01)');
INSERT INTO "metric_values" VALUES(31,1790942400000,NULL,'btc_usd: last value 86,505 USD is 10 d old (limit 3 d); assumption ''impact_y'' (miner) is not in _assumptions.yaml; assumption ''coin_volatility_daily'' (miner) is not in _assumptions.yaml; assumption ''coin_volume_usd_day'' (miner) is not in _assumptions.yaml; and 5 more');
INSERT INTO "metric_values" VALUES(31,1791028800000,NULL,'btc_usd: last value 86,505 USD is 12 d old (limit 3 d); assumption ''impact_y'' (miner) is not in _assumptions.yaml; assumption ''coin_volatility_daily'' (miner) is not in _assumptions.yaml; assumption ''coin_volume_usd_day'' (miner) is not in _assumptions.yaml; and 5 more');
INSERT INTO "metric_values" VALUES(31,1791201600000,NULL,'btc_usd: last value 86,505 USD is 14 d old (limit 3 d); assumption ''impact_y'' (miner) is not in _assumptions.yaml; assumption ''coin_volatility_daily'' (miner) is not in _assumptions.yaml; assumption ''coin_volume_usd_day'' (miner) is not in _assumptions.yaml; and 5 more');
INSERT INTO "metric_values" VALUES(31,1791374400000,NULL,'btc_usd: last value 86,505 USD is 16 d old (limit 3 d); assumption ''impact_y'' (miner) is not in _assumptions.yaml; assumption ''coin_volatility_daily'' (miner) is not in _assumptions.yaml; assumption ''coin_volume_usd_day'' (miner) is not in _assumptions.yaml; and 5 more');
INSERT INTO "metric_values" VALUES(31,1791547200000,NULL,'btc_usd: last value 86,505 USD is 18 d old (limit 3 d); assumption ''impact_y'' (miner) is not in _assumptions.yaml; assumption ''coin_volatility_daily'' (miner) is not in _assumptions.yaml; assumption ''coin_volume_usd_day'' (miner) is not in _assumptions.yaml; and 5 more');
INSERT INTO "metric_values" VALUES(31,1791720000000,NULL,'btc_usd: last value 86,505 USD is 20 d old (limit 3 d); assumption ''impact_y'' (miner) is not in _assumptions.yaml; assumption ''coin_volatility_daily'' (miner) is not in _assumptions.yaml; assumption ''coin_volume_usd_day'' (miner) is not in _assumptions.yaml; and 5 more');
INSERT INTO "metric_values" VALUES(31,1791892800000,NULL,'btc_usd: last value 86,505 USD is 22 d old (limit 3 d); assumption ''impact_y'' (miner) is not in _assumptions.yaml; assumption ''coin_volatility_daily'' (miner) is not in _assumptions.yaml; assumption ''coin_volume_usd_day'' (miner) is not in _assumptions.yaml; and 5 more');
INSERT INTO "metric_values" VALUES(31,1792065600000,NULL,'btc_usd: last value 86,505 USD is 24 d old (limit 3 d); assumption ''impact_y'' (miner) is not in _assumptions.yaml; assumption ''coin_volatility_daily'' (miner) is not in _assumptions.yaml; assumption ''coin_volume_usd_day'' (miner) is not in _assumptions.yaml; and 5 more');
INSERT INTO "metric_values" VALUES(31,1792238400000,NULL,'btc_usd: last value 86,505 USD is 26 d old (limit 3 d); assumption ''impact_y'' (miner) is not in _assumptions.yaml; assumption ''coin_volatility_daily'' (miner) is not in _assumptions.yaml; assumption ''coin_volume_usd_day'' (miner) is not in _assumptions.yaml; and 5 more');
INSERT INTO "metric_values" VALUES(31,1792411200000,NULL,'btc_usd: last value 86,505 USD is 28 d old (limit 3 d); assumption ''impact_y'' (miner) is not in _assumptions.yaml; assumption ''coin_volatility_daily'' (miner) is not in _assumptions.yaml; assumption ''coin_volume_usd_day'' (miner) is not in _assumptions.yaml; and 5 more');
INSERT INTO "metric_values" VALUES(31,1792584000000,NULL,'btc_usd: last value 86,505 USD is 30 d old (limit 3 d); assumption ''impact_y'' (miner) is not in _assumptions.yaml; assumption ''coin_volatility_daily'' (miner) is not in _assumptions.yaml; assumption ''coin_volume_usd_day'' (miner) is not in _assumptions.yaml; and 5 more');
INSERT INTO "metric_values" VALUES(31,1792756800000,NULL,'btc_usd: last value 86,505 USD is 32 d old (limit 3 d); assumption ''impact_y'' (miner) is not in _assumptions.yaml; assumption ''coin_volatility_daily'' (miner) is not in _assumptions.yaml; assumption ''coin_volume_usd_day'' (miner) is not in _assumptions.yaml; and 5 more');
INSERT INTO "metric_values" VALUES(31,1792929600000,NULL,'btc_usd: last value 86,505 USD is 34 d old (limit 3 d); assumption ''impact_y'' (miner) is not in _assumptions.yaml; assumption ''coin_volatility_daily'' (miner) is not in _assumptions.yaml; assumption ''coin_volume_usd_day'' (miner) is not in _assumptions.yaml; and 5 more');
INSERT INTO "metric_values" VALUES(31,1793102400000,NULL,'btc_usd: last value 86,505 USD is 36 d old (limit 3 d); assumption ''impact_y'' (miner) is not in _assumptions.yaml; assumption ''coin_volatility_daily'' (miner) is not in _assumptions.yaml; assumption ''coin_volume_usd_day'' (miner) is not in _assumptions.yaml; and 5 more');
INSERT INTO "metric_values" VALUES(31,1793275200000,NULL,'btc_usd: last value 86,505 USD is 38 d old (limit 3 d); assumption ''impact_y'' (miner) is not in _assumptions.yaml; assumption ''coin_volatility_daily'' (miner) is not in _assumptions.yaml; assumption ''coin_volume_usd_day'' (miner) is not in _assumptions.yaml; and 5 more');
INSERT INTO "metric_values" VALUES(31,1793448000000,NULL,'btc_usd: last value 86,505 USD is 40 d old (limit 3 d); assumption ''impact_y'' (miner) is not in _assumptions.yaml; assumption ''coin_volatility_daily'' (miner) is not in _assumptions.yaml; assumption ''coin_volume_usd_day'' (miner) is not in _assumptions.yaml; and 5 more');
INSERT INTO "metric_values" VALUES(31,1793534400000,NULL,'assumption ''impact_y'' (miner) is not in _assumptions.yaml; assumption ''coin_volatility_daily'' (miner) is not in _assumptions.yaml; assumption ''coin_volume_usd_day'' (miner) is not in _assumptions.yaml; assumption ''coin_sale_days'' (miner) is not in _assumptions.yaml; and 4 more');
INSERT INTO "metric_values" VALUES(32,1790942400000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-02); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-02); interest_quarter_usd was never reported (or not before 2026-10-02); debt_usd was never reported (or not before 2026-10-02); and 1 more');
INSERT INTO "metric_values" VALUES(32,1791028800000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-03); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-03); interest_quarter_usd was never reported (or not before 2026-10-03); debt_usd was never reported (or not before 2026-10-03); and 1 more');
INSERT INTO "metric_values" VALUES(32,1791115200000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-04); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-04); interest_quarter_usd was never reported (or not before 2026-10-04); debt_usd was never reported (or not before 2026-10-04); and 1 more');
INSERT INTO "metric_values" VALUES(32,1791201600000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-05); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-05); interest_quarter_usd was never reported (or not before 2026-10-05); debt_usd was never reported (or not before 2026-10-05); and 1 more');
INSERT INTO "metric_values" VALUES(32,1791288000000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-06); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-06); interest_quarter_usd was never reported (or not before 2026-10-06); debt_usd was never reported (or not before 2026-10-06); and 1 more');
INSERT INTO "metric_values" VALUES(32,1791374400000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-07); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-07); interest_quarter_usd was never reported (or not before 2026-10-07); debt_usd was never reported (or not before 2026-10-07); and 1 more');
INSERT INTO "metric_values" VALUES(32,1791460800000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-08); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-08); interest_quarter_usd was never reported (or not before 2026-10-08); debt_usd was never reported (or not before 2026-10-08); and 1 more');
INSERT INTO "metric_values" VALUES(32,1791547200000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-09); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-09); interest_quarter_usd was never reported (or not before 2026-10-09); debt_usd was never reported (or not before 2026-10-09); and 1 more');
INSERT INTO "metric_values" VALUES(32,1791633600000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-10); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-10); interest_quarter_usd was never reported (or not before 2026-10-10); debt_usd was never reported (or not before 2026-10-10); and 1 more');
INSERT INTO "metric_values" VALUES(32,1791720000000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-11); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-11); interest_quarter_usd was never reported (or not before 2026-10-11); debt_usd was never reported (or not before 2026-10-11); and 1 more');
INSERT INTO "metric_values" VALUES(32,1791806400000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-12); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-12); interest_quarter_usd was never reported (or not before 2026-10-12); debt_usd was never reported (or not before 2026-10-12); and 1 more');
INSERT INTO "metric_values" VALUES(32,1791892800000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-13); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-13); interest_quarter_usd was never reported (or not before 2026-10-13); debt_usd was never reported (or not before 2026-10-13); and 1 more');
INSERT INTO "metric_values" VALUES(32,1791979200000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-14); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-14); interest_quarter_usd was never reported (or not before 2026-10-14); debt_usd was never reported (or not before 2026-10-14); and 1 more');
INSERT INTO "metric_values" VALUES(32,1792065600000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-15); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-15); interest_quarter_usd was never reported (or not before 2026-10-15); debt_usd was never reported (or not before 2026-10-15); and 1 more');
INSERT INTO "metric_values" VALUES(32,1792152000000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-16); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-16); interest_quarter_usd was never reported (or not before 2026-10-16); debt_usd was never reported (or not before 2026-10-16); and 1 more');
INSERT INTO "metric_values" VALUES(32,1792238400000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-17); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-17); interest_quarter_usd was never reported (or not before 2026-10-17); debt_usd was never reported (or not before 2026-10-17); and 1 more');
INSERT INTO "metric_values" VALUES(32,1792324800000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-18); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-18); interest_quarter_usd was never reported (or not before 2026-10-18); debt_usd was never reported (or not before 2026-10-18); and 1 more');
INSERT INTO "metric_values" VALUES(32,1792411200000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-19); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-19); interest_quarter_usd was never reported (or not before 2026-10-19); debt_usd was never reported (or not before 2026-10-19); and 1 more');
INSERT INTO "metric_values" VALUES(32,1792497600000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-20); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-20); interest_quarter_usd was never reported (or not before 2026-10-20); debt_usd was never reported (or not before 2026-10-20); and 1 more');
INSERT INTO "metric_values" VALUES(32,1792584000000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-21); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-21); interest_quarter_usd was never reported (or not before 2026-10-21); debt_usd was never reported (or not before 2026-10-21); and 1 more');
INSERT INTO "metric_values" VALUES(32,1792670400000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-22); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-22); interest_quarter_usd was never reported (or not before 2026-10-22); debt_usd was never reported (or not before 2026-10-22); and 1 more');
INSERT INTO "metric_values" VALUES(32,1792756800000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-23); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-23); interest_quarter_usd was never reported (or not before 2026-10-23); debt_usd was never reported (or not before 2026-10-23); and 1 more');
INSERT INTO "metric_values" VALUES(32,1792843200000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-24); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-24); interest_quarter_usd was never reported (or not before 2026-10-24); debt_usd was never reported (or not before 2026-10-24); and 1 more');
INSERT INTO "metric_values" VALUES(32,1792929600000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-25); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-25); interest_quarter_usd was never reported (or not before 2026-10-25); debt_usd was never reported (or not before 2026-10-25); and 1 more');
INSERT INTO "metric_values" VALUES(32,1793016000000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-26); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-26); interest_quarter_usd was never reported (or not before 2026-10-26); debt_usd was never reported (or not before 2026-10-26); and 1 more');
INSERT INTO "metric_values" VALUES(32,1793102400000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-27); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-27); interest_quarter_usd was never reported (or not before 2026-10-27); debt_usd was never reported (or not before 2026-10-27); and 1 more');
INSERT INTO "metric_values" VALUES(32,1793188800000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-28); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-28); interest_quarter_usd was never reported (or not before 2026-10-28); debt_usd was never reported (or not before 2026-10-28); and 1 more');
INSERT INTO "metric_values" VALUES(32,1793275200000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-29); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-29); interest_quarter_usd was never reported (or not before 2026-10-29); debt_usd was never reported (or not before 2026-10-29); and 1 more');
INSERT INTO "metric_values" VALUES(32,1793361600000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-30); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-30); interest_quarter_usd was never reported (or not before 2026-10-30); debt_usd was never reported (or not before 2026-10-30); and 1 more');
INSERT INTO "metric_values" VALUES(32,1793448000000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-10-31); ebitda_adjusted_quarter_usd was never reported (or not before 2026-10-31); interest_quarter_usd was never reported (or not before 2026-10-31); debt_usd was never reported (or not before 2026-10-31); and 1 more');
INSERT INTO "metric_values" VALUES(32,1793534400000,NULL,'cash_unrestricted_usd was never reported (or not before 2026-11-01); ebitda_adjusted_quarter_usd was never reported (or not before 2026-11-01); interest_quarter_usd was never reported (or not before 2026-11-01); debt_usd was never reported (or not before 2026-11-01); and 1 more');
INSERT INTO "metric_values" VALUES(89,1790942400000,NULL,'btc_usd: last value 86,505 USD is 10 d old (limit 3 d)');
INSERT INTO "metric_values" VALUES(89,1791028800000,NULL,'btc_usd: last value 86,505 USD is 12 d old (limit 3 d)');
INSERT INTO "metric_values" VALUES(89,1791201600000,NULL,'btc_usd: last value 86,505 USD is 14 d old (limit 3 d)');
INSERT INTO "metric_values" VALUES(89,1791374400000,NULL,'btc_usd: last value 86,505 USD is 16 d old (limit 3 d)');
INSERT INTO "metric_values" VALUES(89,1791547200000,NULL,'btc_usd: last value 86,505 USD is 18 d old (limit 3 d)');
INSERT INTO "metric_values" VALUES(89,1791720000000,NULL,'btc_usd: last value 86,505 USD is 20 d old (limit 3 d)');
INSERT INTO "metric_values" VALUES(89,1791892800000,NULL,'btc_usd: last value 86,505 USD is 22 d old (limit 3 d)');
INSERT INTO "metric_values" VALUES(89,1792065600000,NULL,'btc_usd: last value 86,505 USD is 24 d old (limit 3 d)');
INSERT INTO "metric_values" VALUES(89,1792238400000,NULL,'btc_usd: last value 86,505 USD is 26 d old (limit 3 d)');
INSERT INTO "metric_values" VALUES(89,1792411200000,NULL,'btc_usd: last value 86,505 USD is 28 d old (limit 3 d)');
INSERT INTO "metric_values" VALUES(89,1792584000000,NULL,'btc_usd: last value 86,505 USD is 30 d old (limit 3 d)');
INSERT INTO "metric_values" VALUES(89,1792756800000,NULL,'btc_usd: last value 86,505 USD is 32 d old (limit 3 d)');
INSERT INTO "metric_values" VALUES(89,1792929600000,NULL,'btc_usd: last value 86,505 USD is 34 d old (limit 3 d)');
INSERT INTO "metric_values" VALUES(89,1793102400000,NULL,'btc_usd: last value 86,505 USD is 36 d old (limit 3 d)');
INSERT INTO "metric_values" VALUES(89,1793275200000,NULL,'btc_usd: last value 86,505 USD is 38 d old (limit 3 d)');
INSERT INTO "metric_values" VALUES(89,1793448000000,NULL,'btc_usd: last value 86,505 USD is 40 d old (limit 3 d)');
INSERT INTO "metric_values" VALUES(89,1793534400000,80000.0,NULL);
INSERT INTO "metric_values" VALUES(89,1793535300000,50000.0,NULL);
INSERT INTO "metric_values" VALUES(117,1790942400000,NULL,'pd_12m is not worked out for the days before the first start');
INSERT INTO "metric_values" VALUES(117,1793534400000,NULL,'ebitda_adjusted_quarter_usd was never reported (or not before 2026-11-01); revenue_mining_quarter_usd was never reported (or not before 2026-11-01); assumption ''impact_y'' (miner) is not in _assumptions.yaml; assumption ''coin_volatility_daily'' (miner) is not in _assumptions.yaml; and 5 more');
INSERT INTO "metric_values" VALUES(118,1790942400000,NULL,'pd_12m is not worked out for the days before the first start');
INSERT INTO "metric_values" VALUES(118,1793534400000,NULL,'ebitda_adjusted_quarter_usd was never reported (or not before 2026-11-01); revenue_quarter_usd was never reported (or not before 2026-11-01); assumption ''contracted_share'' (neocloud) is not in _assumptions.yaml; cash_unrestricted_usd was never reported (or not before 2026-11-01); and 3 more');
CREATE TABLE notices (message_id TEXT PRIMARY KEY, at TEXT NOT NULL, snapshot TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE observations (
    id INTEGER PRIMARY KEY,
    series TEXT NOT NULL,
    subject TEXT NOT NULL,
    observed_at TEXT NOT NULL,
    known_at TEXT NOT NULL,
    value REAL NOT NULL,
    unit TEXT NOT NULL,
    source TEXT NOT NULL,
    known_basis TEXT NOT NULL,
    restated INTEGER NOT NULL,
    quality TEXT NOT NULL,
    note TEXT NOT NULL,
    UNIQUE (series, subject, observed_at, source, known_at)
);
INSERT INTO "observations" VALUES(1,'btc_usd','market','2026-11-01T12:00:00.000000Z','2026-11-01T12:00:00.000000Z',80000.0,'usd','kraken','live',0,'filing','');
INSERT INTO "observations" VALUES(2,'btc_usd','market','2026-11-01T12:00:00.000000Z','2026-11-01T12:00:00.000000Z',80000.0,'usd','coinbase','live',0,'filing','');
INSERT INTO "observations" VALUES(3,'btc_usd','market','2026-11-01T12:15:00.000000Z','2026-11-01T12:15:00.000000Z',50000.0,'usd','kraken','live',0,'filing','');
INSERT INTO "observations" VALUES(4,'btc_usd','market','2026-11-01T12:15:00.000000Z','2026-11-01T12:15:00.000000Z',50000.0,'usd','coinbase','live',0,'filing','');
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    repeat_of TEXT,
    route TEXT NOT NULL,
    channel TEXT NOT NULL,
    destination TEXT NOT NULL,
    kind TEXT NOT NULL,
    severity TEXT NOT NULL,
    rank INTEGER NOT NULL,
    title TEXT NOT NULL,
    lines TEXT NOT NULL,
    event_ids TEXT NOT NULL,
    created_at TEXT NOT NULL,
    recorded INTEGER NOT NULL,
    possibly_repeated INTEGER NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    attempt_id TEXT NOT NULL,
    next_at TEXT,
    sent_at TEXT,
    channel_message_id TEXT NOT NULL,
    error TEXT NOT NULL
, waits_since TEXT);
INSERT INTO "outbox" VALUES(1,'bc1b3904fc7a632dabce',NULL,'console','console','','notice','critical',2,'FIRST LOOK 2026-11-01 12:00 UTC: 1 alert fires already (1 critical)','[["critical", "LowCash #d5u4, Alpha Mining, fired since 2026-10-02 12:00 UTC: alpha: cash 20.0m USD"], ["from now on", "only changes are sent"]]','["951938e051eb5f0a1a6a"]','2026-11-01T12:00:00.000000Z',0,0,'sent',1,'e75568a6170c435e88443ffee698997e',NULL,'2026-11-01T12:00:00.000000Z','1','','2026-11-01T12:00:00.000000Z');
INSERT INTO "outbox" VALUES(2,'be518811ad1522728377',NULL,'console','console','','fired','critical',2,'CRITICAL market: CheapCoins','[["alert", "CheapCoins fired #ii7b"], ["", "bitcoin at 50,000"], ["now", "btc_usd 50,000 USD, line < 60,000 USD (0 s old)"], ["since", "true since 2026-11-01 12:15 UTC (0 s); fired 2026-11-01 12:15 UTC"], ["range", "holds at both ends of the assumptions: yes (no assumption entered)"], ["price", "btc_usd 50,000 USD, 0 s old (median of coinbase, kraken)"]]','["11764f785248eebd5638"]','2026-11-01T12:15:00.000000Z',0,0,'sent',1,'7985633bf90748779b7d4f98283ef78b',NULL,'2026-11-01T12:15:00.000000Z','1','','2026-11-01T12:15:00.000000Z');
INSERT INTO "outbox" VALUES(3,'m-unsent',NULL,'console','console','','notice','warning',1,'Waits since the old version','[]','[]','2026-11-01T12:15:00.000000Z',0,0,'queued',0,'',NULL,NULL,'','',NULL);
CREATE TABLE overlays (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    at TEXT NOT NULL,
    until TEXT,
    rule TEXT NOT NULL,
    subject TEXT NOT NULL,
    short_id TEXT NOT NULL,
    "by" TEXT NOT NULL,
    note TEXT NOT NULL
);
INSERT INTO "overlays" VALUES(1,'silence','2026-11-01T12:15:00.000000Z','2026-11-06T12:15:00.000000Z','LowCash','','','Ada','known');
CREATE TABLE raw (
    id INTEGER PRIMARY KEY,
    feed TEXT NOT NULL,
    fetched_at TEXT NOT NULL,
    what TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    body BLOB NOT NULL
);
INSERT INTO "raw" VALUES(1,'kraken','2026-11-01T12:00:00.000000Z','/price',2,X'7B7D');
INSERT INTO "raw" VALUES(2,'kraken','2026-11-01T12:15:00.000000Z','/price',2,X'7B7D');
CREATE TABLE ticks (
    id INTEGER PRIMARY KEY,
    eval_at TEXT NOT NULL,
    book_hash TEXT NOT NULL,
    rules_hash TEXT NOT NULL,
    assumptions_hash TEXT NOT NULL,
    code_version TEXT NOT NULL,
    seed INTEGER NOT NULL,
    duration_s REAL,
    recorded INTEGER NOT NULL
);
INSERT INTO "ticks" VALUES(1790942400000,'2026-10-02T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1791028800000,'2026-10-03T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1791115200000,'2026-10-04T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1791201600000,'2026-10-05T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1791288000000,'2026-10-06T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1791374400000,'2026-10-07T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1791460800000,'2026-10-08T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1791547200000,'2026-10-09T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1791633600000,'2026-10-10T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1791720000000,'2026-10-11T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1791806400000,'2026-10-12T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1791892800000,'2026-10-13T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1791979200000,'2026-10-14T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1792065600000,'2026-10-15T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1792152000000,'2026-10-16T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1792238400000,'2026-10-17T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1792324800000,'2026-10-18T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1792411200000,'2026-10-19T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1792497600000,'2026-10-20T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1792584000000,'2026-10-21T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1792670400000,'2026-10-22T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1792756800000,'2026-10-23T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1792843200000,'2026-10-24T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1792929600000,'2026-10-25T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1793016000000,'2026-10-26T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1793102400000,'2026-10-27T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1793188800000,'2026-10-28T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1793275200000,'2026-10-29T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1793361600000,'2026-10-30T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1793448000000,'2026-10-31T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,0.0,0);
INSERT INTO "ticks" VALUES(1793534400000,'2026-11-01T12:00:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,7.89197113000045646913e+00,0);
INSERT INTO "ticks" VALUES(1793535300000,'2026-11-01T12:15:00.000000Z','206bb2fd9a3cc286','2ca6405d612c1a44','e3b0c44298fc1c14','0.1.0',20240229,5.91245402998538338579e-01,0);
CREATE TABLE told (
    route TEXT NOT NULL,
    short_id TEXT NOT NULL,
    firing INTEGER NOT NULL,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    PRIMARY KEY (route, short_id)
) WITHOUT ROWID;
INSERT INTO "told" VALUES('console','d5u4',1,'2026-11-01T12:00:00.000000Z','notice');
INSERT INTO "told" VALUES('console','ii7b',1,'2026-11-01T12:15:00.000000Z','fired');
CREATE TABLE waiting (
    event_id TEXT NOT NULL REFERENCES events (id),
    route TEXT NOT NULL,
    since TEXT NOT NULL,
    reason TEXT NOT NULL,
    undelivered INTEGER NOT NULL,
    PRIMARY KEY (event_id, route)
);
CREATE INDEX observations_known ON observations (known_at);
CREATE VIEW metrics AS
    SELECT ticks.eval_at AS eval_at, metric, subject, scenario, value, unit, reason
    FROM metric_values JOIN metric_series ON metric_series.id = series JOIN ticks ON ticks.id = tick;
CREATE INDEX events_at ON events (at);
CREATE INDEX events_alert ON events (rule, subject, at);
CREATE INDEX outbox_open ON outbox (state, rank);
COMMIT;
PRAGMA user_version = 2;
