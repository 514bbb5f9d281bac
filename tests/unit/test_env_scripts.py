"""The scripts of the credential zip, sourced in the real shells: nothing is imitated but PowerShell and cmd, which Linux has not."""

import shutil
import subprocess
from pathlib import Path

import pytest

from apps.coes.env_scripts import Variables, scripts

VARIABLES = Variables(prefix="docker", endpoint="tcp://10.100.7.10:2376", version="26.1.5", bay="web-1")
EXPECTED = {
    "DOCKER_HOST": "tcp://10.100.7.10:2376",
    "DOCKER_TLS_VERIFY": "1",
    "DOCKER_VERSION": "26.1.5",
    "CARINA_BAY": "web-1",
}
POSIX_SHELLS = {
    "bash": ["bash", "-c"],
    "bash as sh": ["bash", "--posix", "-c"],
    "bash, strict": ["bash", "-euc"],
    "dash": ["dash", "-c"],
    "dash, strict": ["dash", "-euc"],
    "busybox ash": ["busybox", "ash", "-c"],
    "busybox ash, strict": ["busybox", "ash", "-euc"],
    "zsh": ["zsh", "-fc"],
    "zsh, strict": ["zsh", "-f", "-euc"],
}


@pytest.fixture(params=["plain", "with a space", "quo'te $HOME"])
def bundle(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    folder: Path = tmp_path / request.param / "web-1"
    folder.mkdir(parents=True)
    (folder / "ca.pem").write_text("certificate")
    for name, text in scripts(VARIABLES).items():
        (folder / name).write_text(text, newline="")
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def run(command: list[str], *, cwd: Path, arguments: list[str]) -> "subprocess.CompletedProcess[str]":
    if shutil.which(command[0]) is None:
        pytest.fail(f"{command[0]} is not installed here, so its script is not proved: apt-get install {command[0]}")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "LC_ALL": "C.UTF-8"}
    return subprocess.run([*command, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=20, check=False)


def variables_of(output: str) -> dict[str, str]:
    lines = (line.partition("=") for line in output.splitlines())
    return {name: value for name, _, value in lines if name.startswith(("DOCKER_", "CARINA_", "_carina"))}


@pytest.mark.parametrize("shell", POSIX_SHELLS)
def test_docker_env_finds_its_folder_from_another_directory(shell: str, bundle: Path, elsewhere: Path) -> None:
    done = run(POSIX_SHELLS[shell], cwd=elsewhere, arguments=['. "$1"; env', "shell", str(bundle / "docker.env")])
    assert done.stderr == ""
    assert variables_of(done.stdout) == {**EXPECTED, "DOCKER_CERT_PATH": str(bundle)}


@pytest.mark.parametrize("shell", POSIX_SHELLS)
def test_docker_env_works_with_a_relative_path(shell: str, bundle: Path) -> None:
    done = run(POSIX_SHELLS[shell], cwd=bundle.parent, arguments=[". web-1/docker.env; env"])
    assert variables_of(done.stdout)["DOCKER_CERT_PATH"] == str(bundle)


@pytest.mark.parametrize("shell", POSIX_SHELLS)
def test_docker_env_works_inside_its_own_folder(shell: str, bundle: Path) -> None:
    done = run(POSIX_SHELLS[shell], cwd=bundle, arguments=[". ./docker.env; env"])
    assert variables_of(done.stdout)["DOCKER_CERT_PATH"] == str(bundle)


@pytest.mark.parametrize("shell", POSIX_SHELLS)
def test_docker_env_works_from_a_script_a_function_and_a_subshell(shell: str, bundle: Path, elsewhere: Path) -> None:
    (elsewhere / "outer.sh").write_text('use() { . "$1"; }\nuse "$BUNDLE"\n')
    text = "BUNDLE=$1; (. ./outer.sh; env)"
    done = run(POSIX_SHELLS[shell], cwd=elsewhere, arguments=[text, "shell", str(bundle / "docker.env")])
    assert done.stderr == ""
    assert variables_of(done.stdout)["DOCKER_CERT_PATH"] == str(bundle)


@pytest.mark.parametrize("shell", POSIX_SHELLS)
def test_docker_env_of_the_bay_last_sourced_wins(shell: str, bundle: Path, elsewhere: Path) -> None:
    other = bundle.parent / "other bay"
    other.mkdir()
    (other / "ca.pem").write_text("certificate")
    (other / "docker.env").write_text(
        scripts(Variables(prefix="docker", endpoint="tcp://10.9.9.9:2376", version="26.1.5", bay="other"))["docker.env"]
    )
    done = run(
        POSIX_SHELLS[shell],
        cwd=elsewhere,
        arguments=['. "$1"; . "$2"; env', "shell", str(bundle / "docker.env"), str(other / "docker.env")],
    )
    seen = variables_of(done.stdout)
    assert (seen["CARINA_BAY"], seen["DOCKER_CERT_PATH"]) == ("other", str(other))


@pytest.mark.parametrize("shell", POSIX_SHELLS)
def test_docker_env_leaves_no_variables_of_its_own_behind(shell: str, bundle: Path, elsewhere: Path) -> None:
    done = run(POSIX_SHELLS[shell], cwd=elsewhere, arguments=['. "$1"; set', "shell", str(bundle / "docker.env")])
    assert not [line for line in done.stdout.splitlines() if line.startswith("_carina")]


@pytest.mark.parametrize("shell", ["bash", "dash", "busybox ash", "zsh"])
def test_docker_env_without_its_certificates_says_what_to_do_and_sets_nothing(shell: str, bundle: Path, elsewhere: Path) -> None:
    (bundle / "ca.pem").unlink()
    done = run(POSIX_SHELLS[shell], cwd=elsewhere, arguments=['. "$1"; echo "status=$?"; env', "shell", str(bundle / "docker.env")])
    assert "status=1" in done.stdout
    assert "change into its folder" in done.stderr
    assert variables_of(done.stdout) == {}


def test_docker_env_read_from_a_pipe_takes_the_current_directory(bundle: Path) -> None:
    done = run(["dash"], cwd=bundle, arguments=["-c", 'eval "$(cat docker.env)"; env'])
    assert variables_of(done.stdout)["DOCKER_CERT_PATH"] == str(bundle)


@pytest.mark.parametrize("where", ["elsewhere", "inside"])
def test_docker_fish_finds_its_folder(where: str, bundle: Path, elsewhere: Path) -> None:
    cwd, path = (elsewhere, str(bundle / "docker.fish")) if where == "elsewhere" else (bundle, "docker.fish")
    done = run(["fish", "--no-config"], cwd=cwd, arguments=["-c", "source $argv[1]; env", path])
    assert done.stderr == ""
    assert variables_of(done.stdout) == {**EXPECTED, "DOCKER_CERT_PATH": str(bundle)}


def test_text_of_the_powershell_script_only_read_not_run() -> None:
    text = scripts(VARIABLES)["docker.ps1"]
    assert "$env:DOCKER_CERT_PATH = $PSScriptRoot\n" in text
    for name, value in EXPECTED.items():
        assert f"$env:{name} = '{value}'\n" in text


def test_text_of_the_cmd_script_only_read_not_run() -> None:
    text = scripts(VARIABLES)["docker.cmd"]
    assert '@set "DOCKER_CERT_PATH=%~dp0"\r\n' in text
    assert text.count("\n") == text.count("\r\n"), "cmd wants CRLF everywhere"
    assert all(line.startswith("@") for line in text.splitlines()), "a line without @ is echoed to the user"
    for name, value in EXPECTED.items():
        assert f'@set "{name}={value}"\r\n' in text


@pytest.mark.parametrize("evil", ["web'; rm -rf ~; '", "a b", "$(id)", "`id`", "%PATH%", "web\nx", "", "-x", 'a"b', "ünïcode"])
def test_names_that_mean_something_to_a_shell_are_refused(evil: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in a shell script"):
        Variables(prefix="docker", endpoint="tcp://10.0.0.1:2376", version="26.1.5", bay=evil)
