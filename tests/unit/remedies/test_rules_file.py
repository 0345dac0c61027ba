"""If these fail, a rule that an operator has written is not followed, and `retry` says that it was."""

import os
from pathlib import Path

import pytest

from workers.kernel.errors import InputUnusable
from workers.remedies import RulesFile, load_rules

ALIAS = '[customers.aliases]\n"a" = "cus_1"\n'
LISTED = '[customers]\nalias_file = "aliases.csv"\n'


class Told(list[str | None]):
    def __call__(self, fault: InputUnusable | None) -> None:
        self.append(fault.what if fault else None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "aliases.csv").write_text("alias,target\nx,cus_9\n")
    (tmp_path / "rules.toml").write_text(ALIAS)
    return tmp_path / "rules.toml"


def aliases(rules_file: RulesFile) -> dict[str, str]:
    return dict(rules_file.current().customer_aliases.iter_rows())


def written(path: Path, text: str) -> None:
    """Write a file as an editor does, without its time telling it: two writes may fall into one tick."""
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ALIAS, {"a": "cus_1"}),
        (ALIAS.replace("cus_1", "cus_2"), {"a": "cus_2"}),
        (ALIAS.replace('"a"', '"b"'), {"b": "cus_1"}),
        (ALIAS + '"c" = "cus_3"\n', {"a": "cus_1", "c": "cus_3"}),
        ("", {}),
        ("# none yet\n", {}),
        ("\ufeff" + ALIAS, {"a": "cus_1"}),
        (ALIAS.replace("\n", "\r\n"), {"a": "cus_1"}),
        (LISTED, {"x": "cus_9"}),
        (LISTED + ALIAS, {"a": "cus_1", "x": "cus_9"}),
        (ALIAS + "[timestamps]\nclamp_too_old = true\n", {"a": "cus_1"}),
    ],
)
def test_what_is_written_into_the_file_is_followed_at_once(path: Path, text: str, expected: dict[str, str]) -> None:
    rules_file = RulesFile(path, load_rules(path), Told())
    before = rules_file.current().digest
    written(path, text)
    assert aliases(rules_file) == expected
    assert (rules_file.current().digest == before) is (text.lstrip("\ufeff").replace("\r\n", "\n") == ALIAS)


def test_a_file_that_is_replaced_or_linked_anew_is_followed(path: Path, tmp_path: Path) -> None:
    rules_file = RulesFile(path, load_rules(path), Told())
    (tmp_path / "new.toml").write_text(ALIAS.replace("cus_1", "cus_2"))
    (tmp_path / "new.toml").replace(path)
    assert aliases(rules_file) == {"a": "cus_2"}
    path.unlink()
    (tmp_path / "v3.toml").write_text(ALIAS.replace("cus_1", "cus_3"))
    path.symlink_to(tmp_path / "v3.toml")
    assert aliases(rules_file) == {"a": "cus_3"}


def test_the_alias_file_beside_it_is_followed_too(path: Path) -> None:
    path.write_text(LISTED)
    rules_file = RulesFile(path, load_rules(path), Told())
    written(path.parent / "aliases.csv", "alias,target\nx,cus_8\n")
    assert aliases(rules_file) == {"x": "cus_8"}


@pytest.mark.parametrize(
    "broken",
    [
        "[customers",
        "customers = 1",
        "[nonsense]\n",
        '[customers]\nalias_file = "gone.csv"\n',
        "\x00",
        None,
        "[values]\n",
    ],
)
def test_while_it_cannot_be_read_the_last_rules_stay_and_it_is_told_once(path: Path, broken: str | None) -> None:
    """A slip of the editor must neither stop all work nor have usage billed without its rules."""
    told = Told()
    rules_file = RulesFile(path, load_rules(path), told)
    path.unlink() if broken is None else path.write_text(broken)
    assert [aliases(rules_file) for _ in range(3)] == [{"a": "cus_1"}] * 3
    assert len(told) == 1
    assert told[0]
    path.write_text(ALIAS.replace("cus_1", "cus_2"))
    assert aliases(rules_file) == {"a": "cus_2"}
    assert told[1:] == [None]


def test_another_fault_is_told_again(path: Path) -> None:
    told = Told()
    rules_file = RulesFile(path, load_rules(path), told)
    for text in ("[customers", "customers = 1"):
        path.write_text(text)
        rules_file.current()
    assert len(told) == 2
