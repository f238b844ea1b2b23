"""Where the root key comes from, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from agent.index.root_key import (
    CREDENTIAL,
    CREDENTIALS_VARIABLE,
    ROOT_KEY_VARIABLE,
    RootKeyError,
    create_root_key_file,
    root_key_from,
)

ROOT = bytes(range(32))
OTHER = bytes(range(1, 33))


class TestFileAndEnvironment:
    def test_comes_from_a_file_of_mode_0600(self, tmp_path: Path) -> None:
        file = tmp_path / "root.key"
        create_root_key_file(file)
        assert file.stat().st_mode & 0o777 == 0o600
        assert root_key_from(file, {}).hex() == file.read_text().strip()

    def test_file_is_never_overwritten(self, tmp_path: Path) -> None:
        create_root_key_file(tmp_path / "root.key")
        with pytest.raises(FileExistsError):
            create_root_key_file(tmp_path / "root.key")

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
    def test_file_that_others_can_reach_is_refused_with_the_command_to_run(self, tmp_path: Path, mode: int) -> None:
        file = tmp_path / "root.key"
        create_root_key_file(file)
        file.chmod(mode)
        with pytest.raises(RootKeyError, match="chmod 600"):
            root_key_from(file, {})

    def test_comes_from_the_environment_without_a_file(self) -> None:
        assert root_key_from(None, {ROOT_KEY_VARIABLE: ROOT.hex()}) == ROOT

    def test_same_key_in_both_places_is_fine_but_two_are_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "root.key"
        file.write_text(ROOT.hex() + "\n")
        file.chmod(0o600)
        assert root_key_from(file, {ROOT_KEY_VARIABLE: ROOT.hex()}) == ROOT
        with pytest.raises(RootKeyError, match="different"):
            root_key_from(file, {ROOT_KEY_VARIABLE: OTHER.hex()})

    def test_missing_key_says_where_to_put_one(self, tmp_path: Path) -> None:
        with pytest.raises(RootKeyError, match="root_key_file"):
            root_key_from(None, {})
        with pytest.raises(RootKeyError, match=r"root\.key"):
            root_key_from(tmp_path / "root.key", {})
        with pytest.raises(RootKeyError, match="regular file"):
            root_key_from(tmp_path, {})

    @pytest.mark.parametrize("text", ["", "00", "zz" * 32, "00" * 33, "00" * 31])
    def test_malformed_key_is_refused_and_not_repeated(self, tmp_path: Path, text: str) -> None:
        file = tmp_path / "root.key"
        file.write_text(text)
        file.chmod(0o600)
        with pytest.raises(RootKeyError, match="64 hex digits") as refused:
            root_key_from(file, {})
        assert not text or text not in str(refused.value)


class TestCredential:
    """systemd lays a service's credentials into a directory of its own, readable by an access control list."""

    @pytest.mark.parametrize("mode", [0o400, 0o440])
    def test_named_root_key_counts(self, tmp_path: Path, mode: int) -> None:
        credential = tmp_path / CREDENTIAL
        credential.write_text(ROOT.hex())
        credential.chmod(mode)
        assert root_key_from(None, {CREDENTIALS_VARIABLE: str(tmp_path)}) == ROOT
        assert root_key_from(credential, {CREDENTIALS_VARIABLE: str(tmp_path)}) == ROOT

    def test_that_everybody_can_read_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / CREDENTIAL).write_text(ROOT.hex())
        (tmp_path / CREDENTIAL).chmod(0o444)
        with pytest.raises(RootKeyError, match="others than its owner"):
            root_key_from(None, {CREDENTIALS_VARIABLE: str(tmp_path)})

    def test_another_file_is_not_treated_as_one(self, tmp_path: Path) -> None:
        (tmp_path / "root.key").write_text(ROOT.hex())
        (tmp_path / "root.key").chmod(0o440)
        with pytest.raises(RootKeyError, match="chmod 600"):
            root_key_from(tmp_path / "root.key", {CREDENTIALS_VARIABLE: str(tmp_path / "credentials")})

    def test_missing_leaves_the_other_places(self, tmp_path: Path) -> None:
        environment = {CREDENTIALS_VARIABLE: str(tmp_path), ROOT_KEY_VARIABLE: ROOT.hex()}
        assert root_key_from(None, environment) == ROOT

    def test_and_another_key_elsewhere_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / CREDENTIAL).write_text(OTHER.hex())
        (tmp_path / CREDENTIAL).chmod(0o400)
        with pytest.raises(RootKeyError, match="different"):
            root_key_from(None, {CREDENTIALS_VARIABLE: str(tmp_path), ROOT_KEY_VARIABLE: ROOT.hex()})


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


class TestCommand:
    """A key store is asked by the operator's own command, which prints the key."""

    def test_prints_the_key(self) -> None:
        assert root_key_from(None, {}, python(f"print('{ROOT.hex()}')")) == ROOT

    def test_that_prints_something_else_is_refused_and_not_repeated(self) -> None:
        with pytest.raises(RootKeyError, match="64 hex digits") as refused:
            root_key_from(None, {}, python("print('swordfish')"))
        assert "swordfish" not in str(refused.value)

    def test_that_prints_without_end_is_refused(self) -> None:
        with pytest.raises(RootKeyError, match="64 hex digits"):
            root_key_from(None, {}, python("print('00' * 100_000)"))

    def test_that_fails_is_refused_with_its_status_even_if_it_printed_a_key(self) -> None:
        with pytest.raises(RootKeyError, match="status 3"):
            root_key_from(None, {}, python(f"import sys; print('{ROOT.hex()}'); sys.exit(3)"))

    def test_that_is_killed_is_refused_with_the_signal(self) -> None:
        with pytest.raises(RootKeyError, match="signal 9"):
            root_key_from(None, {}, python("import os; os.kill(os.getpid(), 9)"))

    def test_that_can_not_be_run_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(RootKeyError, match="can't be run"):
            root_key_from(None, {}, [str(tmp_path / "none")])

    def test_that_takes_too_long_is_ended(self) -> None:
        with pytest.raises(RootKeyError, match=r"more than 0\.2 s"):
            root_key_from(None, {}, python("import sys; sys.stdin.close(); import signal; signal.pause()"), 0.2)

    def test_gets_no_shell(self) -> None:
        with pytest.raises(RootKeyError, match="64 hex digits"):
            root_key_from(None, {}, ["/bin/echo", f"{ROOT.hex()}; echo"])

    def test_must_agree_with_the_other_places(self) -> None:
        with pytest.raises(RootKeyError, match="different"):
            root_key_from(None, {ROOT_KEY_VARIABLE: OTHER.hex()}, python(f"print('{ROOT.hex()}')"))
