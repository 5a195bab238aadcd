"""The bot: what a person types or taps in Telegram, checked, carried out and answered. Off until people are named.

From a message to its answer, one file each: :mod:`~monitor.bot.polling` hears it (python-telegram-bot, supervised),
:mod:`~monitor.bot.access` says who may ask it, :mod:`~monitor.bot.words` reads it, :mod:`~monitor.bot.menu` knows the
commands, :mod:`~monitor.bot.quick` answers from the database and :mod:`~monitor.bot.deep` in the worker process,
:mod:`~monitor.bot.buttons` keeps what a button stands for, :mod:`~monitor.bot.replies` writes the answer down.

**A new command** is one line in ``WORDS`` of :mod:`monitor.bot.menu`::

    Word("rule", "NAME [for 4h]", "show a rule, or propose another wait", "viewer", rule)

    async def rule(ask: Ask) -> Answer:
        text = await ask.desk.read(rule_text, ask.desk.world(), ask.words)     # a reader's thread; no writing
        return Answer("Rule LockedBoxShort", (Line("expr", text),))

The line's role is checked before the function is called; where less may be read than changed, the function asks
``allows(ask.person.role, "editor")`` itself. A CanaryError becomes the answer; ``ask.words`` is hostile text.

* ``ask.words`` the words after the command, ``ask.rest`` the same as one text, ``ask.now`` the moment (UTC)
* ``ask.person`` who: ``user`` and ``chat`` (numbers), ``name`` (cleaned), ``role``, ``said`` ("Ada (42)", for audits)
* ``await ask.desk.read(function, *args)`` runs on a reader's thread: files, and databases by ``Store.reader``
* ``await ask.desk.write(function, *args)`` runs ``function(memory, *args)`` on the writer; keep it short
* ``await ask.desk.work("module:function", *args)`` runs in the worker process: dry runs, stresses, pictures. The
  function is given ``(found, offline, *args)``, of which :func:`monitor.bot.elsewhere.world_of` makes the world there;
  what goes in and comes out is pickled

**Asking first** (the same person confirms within minutes) is a button of an ``Action`` in ``ACTIONS`` of the menu::

    Action("rule", "editor", rule_confirmed)                  # carried out once, however often it is tapped

    return Answer(title, lines_of_diff_and_dry_run, buttons=confirm("rule", payload, ask.person))

    async def rule_confirmed(ask: Ask, payload: str) -> Answer: ...    # payload: the text given to confirm()

``confirm`` makes "Do it" and "Leave it"; they work for the person they were shown to, for ten minutes. What must not
have changed in between (the hash of a file, say) belongs into the payload and is checked when it comes back.

**Audit**: :func:`monitor.store_chat.append_audit` and :func:`~monitor.store_chat.audits`, on ``memory.live``::

    def change(memory: Memory, ...) -> None:
        append_audit(memory.live, Audit(at, ask.person.said, str(ask.person.chat), "rule", "LockedBoxShort", old, new))
"""
