"""The starter set is found in both kinds of installation, and laid out without touching what exists."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from monitor.model import CanaryError
from monitor.starter import FOLDERS, lay_out, starter_files, starter_root


def fake_set(root: Path) -> Path:
    """A small starter set."""
    root.mkdir(parents=True)
    (root / "config.yaml").write_text("schedule: {}\n")
    for name in FOLDERS:
        (root / name).mkdir()
        (root / name / "one.yaml").write_text(f"# {name}\n")
    return root


def test_packaged_set_is_found_beside_the_package(tmp_path):
    """An installed wheel carries the set inside the package, and that one counts."""
    fake_set(tmp_path / "project" / "monitor" / "starter")
    package = tmp_path / "project" / "monitor"
    assert starter_root(package) == package / "starter"


def test_checkout_set_is_found_above_the_package(tmp_path):
    """An editable checkout has the set at the top of the project."""
    fake_set(tmp_path / "project")
    (tmp_path / "project" / "monitor").mkdir()
    assert starter_root(tmp_path / "project" / "monitor") == tmp_path / "project"


def test_this_project_has_its_set():
    """The running code finds a set, and each of its folders travels in the wheel."""
    root = starter_root()
    declared = (root / "pyproject.toml").read_text() if (root / "pyproject.toml").exists() else None
    for name in (*FOLDERS, "config.yaml"):
        assert (root / name).exists()
        assert declared is None or f'"{name}" = "monitor/starter/{name}"' in declared


def test_a_broken_installation_is_said(tmp_path):
    """Without any set the error says what is missing and what to do."""
    with pytest.raises(CanaryError, match="install Canary again"):
        starter_root(tmp_path)


def test_lay_out_writes_everything_once(tmp_path):
    """The copy equals the set; a second run writes nothing."""
    root, target = fake_set(tmp_path / "set"), tmp_path / "new" / "desk"
    first = lay_out(target, root)
    assert [path.relative_to(target) for path in first.written] == list(starter_files(root))
    assert all((target / name).read_bytes() == (root / name).read_bytes() for name in starter_files(root))
    second = lay_out(target, root)
    assert second.written == ()
    assert second.kept == first.written


def test_lay_out_never_overwrites(tmp_path):
    """A user's own file stays as it is, even when it is a link to somewhere else."""
    root, target = fake_set(tmp_path / "set"), tmp_path / "desk"
    (target / "rules").mkdir(parents=True)
    (target / "rules" / "one.yaml").write_text("mine\n")
    elsewhere = tmp_path / "elsewhere.yaml"
    (target / "config.yaml").symlink_to(elsewhere)
    laid = lay_out(target, root)
    assert (target / "rules" / "one.yaml").read_text() == "mine\n"
    assert not elsewhere.exists()
    assert {path.name for path in laid.kept} == {"one.yaml", "config.yaml"}
    assert (target / "book" / "one.yaml") in laid.written


def test_copies_are_writable_although_the_set_is_not(tmp_path):
    """Files of a read-only installation become files the user can edit."""
    root = fake_set(tmp_path / "set")
    (root / "config.yaml").chmod(0o444)
    lay_out(tmp_path / "desk", root)
    assert (tmp_path / "desk" / "config.yaml").stat().st_mode & stat.S_IWUSR


def test_links_and_hidden_files_do_not_travel(tmp_path):
    """Only plain files are part of the set."""
    root = fake_set(tmp_path / "set")
    (root / "rules" / ".hidden.yaml").write_text("")
    (root / "rules" / "link.yaml").symlink_to(root / "config.yaml")
    assert [path.name for path in starter_files(root) if path.parts[0] == "rules"] == ["one.yaml"]


def test_a_file_in_the_way_is_said(tmp_path):
    """A target that is a file gives one sentence, not a traceback; the set itself is refused as a target."""
    root = fake_set(tmp_path / "set")
    (tmp_path / "file").write_text("")
    with pytest.raises(CanaryError, match="cannot be written"):
        lay_out(tmp_path / "file", root)
    with pytest.raises(CanaryError, match="is the starter set itself"):
        lay_out(root, root)
