"""The files of a fabric on its host."""

import threading
from pathlib import Path

import pytest

from fabric.errors import HomeUnusable, NoFabric
from fabric.home import (
    Home,
    ManagedZooKeeper,
    ProcessRecord,
    RegistryAddress,
    SessionRecord,
    default_home,
)
from registry.channel import ChannelSettings


def test_the_home_is_where_the_environment_says() -> None:
    """FABRIC_HOME decides; without it the home lies in the user's data folder."""
    assert default_home({"FABRIC_HOME": "/srv/fabric"}) == Path("/srv/fabric")
    assert default_home({"FABRIC_HOME": "here"}).is_absolute()
    assert default_home({}) == Path.home() / ".local/share/fabric"


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    """Every record comes back as it was written, and is gone once it is forgotten."""
    home = Home(tmp_path / "home")
    home.make()
    home.write_registry_address(RegistryAddress("h:2181", "secret"))
    home.write_root_name("root")
    assert home.read_registry_address() == RegistryAddress("h:2181", "secret")
    assert home.read_root_name() == "root"
    container = home.container("c")
    container.make()
    container.write_process(ProcessRecord(1, 2))
    container.write_session(SessionRecord(3, b"\x00\xff"))
    container.write_session_timeout_ms(2000)
    container.write_managed_zookeeper(ManagedZooKeeper(2181, "h", "/d", 500))
    assert container.read_process() == ProcessRecord(1, 2)
    assert container.read_session() == SessionRecord(3, b"\x00\xff")
    assert container.read_session_timeout_ms() == 2000
    assert container.read_managed_zookeeper() == ManagedZooKeeper(2181, "h", "/d", 500)
    container.forget_process()
    container.forget_session()
    home.forget_fabric()
    assert (container.read_process(), container.read_session()) == (None, None)
    assert not home.has_fabric()


def test_how_the_registry_is_talked_to_is_kept(tmp_path: Path) -> None:
    """It stands beside the address, is read again, and goes with another address that does not have it."""
    home = Home(tmp_path / "home")
    home.make()
    secured = RegistryAddress("h:2281", "secret", ChannelSettings(tls=True, ca="/ca.pem", sasl_user="shop"))
    home.write_registry_address(secured)
    home.write_root_name("root")
    assert home.read_registry_address() == secured
    home.write_registry_address(RegistryAddress("h:2181", "secret"))
    assert home.read_registry_address() == RegistryAddress("h:2181", "secret")
    assert home.read_root_name() == "root"
    assert "zookeeper_channel" not in (home.path / "fabric.json").read_text()


def test_a_damaged_channel_is_told(tmp_path: Path) -> None:
    """What was edited wrongly does not become a connection without TLS."""
    (tmp_path / "fabric.json").write_text('{"zookeeper_url": "h:1", "zookeeper_channel": {"tls": "on"}}')
    with pytest.raises(HomeUnusable, match="in zookeeper_channel, tls is not a truth value"):
        Home(tmp_path).read_registry_address()


def test_where_the_registry_is_changes_in_parts(tmp_path: Path) -> None:
    """Several processes of a host change different parts at the same time, and none undoes another's."""
    home = Home(tmp_path / "home")
    with pytest.raises(NoFabric):
        home.change_registry_address(zookeeper_url="h:1")
    home.make()
    with pytest.raises(NoFabric):
        home.change_registry_address(zookeeper_url="h:1")
    home.write_registry_address(RegistryAddress("h:1", "secret"))
    home.write_root_name("root")

    def change_url() -> None:
        for number in range(20):
            Home(home.path).change_registry_address(zookeeper_url=f"h:{number}")

    def change_password() -> None:
        for number in range(20):
            Home(home.path).change_registry_address(zookeeper_password=f"secret{number}")

    threads = [threading.Thread(target=change) for change in (change_url, change_password)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert home.read_registry_address() == RegistryAddress("h:19", "secret19")
    assert home.read_root_name() == "root"


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    """Folders are closed to others, and so is every record."""
    home = Home(tmp_path / "home")
    home.make()
    home.write_registry_address(RegistryAddress("h:2181", "secret"))
    assert home.path.stat().st_mode & 0o777 == 0o700
    assert (home.path / "fabric.json").stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in home.path.iterdir() if entry.name.startswith(".")] == []


def test_without_a_fabric_the_error_says_how_to_get_one(tmp_path: Path) -> None:
    """Who has no fabric is told how to create one."""
    with pytest.raises(NoFabric, match="fabric create"):
        Home(tmp_path).read_registry_address()


@pytest.mark.parametrize("content", ["", "{", "[]", "\xff"])
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    """A record that cannot be read is an error with the file's name, not a traceback."""
    (tmp_path / "fabric.json").write_text(content, encoding="latin-1")
    with pytest.raises(HomeUnusable, match=r"fabric\.json is damaged"):
        Home(tmp_path).read_registry_address()


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file where the folder should be is an error that says what to do."""
    (tmp_path / "home").write_text("")
    with pytest.raises(HomeUnusable, match="FABRIC_HOME"):
        Home(tmp_path / "home").make()


def test_clearing_a_container_keeps_its_stores(tmp_path: Path) -> None:
    """Everything but the stores goes; a container without stores leaves no folder."""
    home = Home(tmp_path)
    for name in ("with", "without"):
        container = home.container(name)
        container.make()
        container.log.write_text("x")
        (container.path / "folder").mkdir()
    (home.container("with").data / "store").mkdir()
    for name in ("with", "without", "never-made"):
        home.container(name).clear()
    assert home.container_names() == ["with"]
    assert [entry.name for entry in home.container("with").path.iterdir()] == ["data"]


def test_a_relative_home_is_made_absolute() -> None:
    """Processes with another working directory find the same home."""
    assert Home(Path("here")).path.is_absolute()
