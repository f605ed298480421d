# The commands of ./dev docker: that script sources this one, and brings what it uses of need_…, patiently and fail.
# shellcheck shell=bash

readonly ENGINE=.docker # what we know of an engine that we started
readonly ENGINE_END_S=60
readonly LAB_PROJECT=fabric-lab
readonly LABS=3 # at once: they wait most of their time, for sessions that end and for faults that last
readonly BASE_DEFAULT=python:3.12-slim
readonly BASE_MADE=fabric-base:bookworm
# What images and their making take; the storage driver vfs keeps every layer whole.
readonly ROOM_MIB=3000
readonly ROOM_VFS_MIB=10000

docker_usage() {
    cat <<'USAGE'
usage: ./dev docker COMMAND

  build                      make the images fabric-host and fabric
  lab [--stop]               run the walk-through on five hosts and leave them running; --stop ends them
  test [PYTEST ARGUMENTS]    run the tests that need Docker, and those of broken links and hosts
  faults [OPTIONS]           break hosts, links, clocks and stores at random; --help lists the options
  down                       end the lab with all it stored, and the engine if it was started here

Docker is installed if it is missing, and its engine started if none runs.
The images are built on python:3.12-slim if `docker pull` has brought it; otherwise root makes a base from
Debian's packages. BASE=IMAGE chooses another one. SOURCE=URL is what the images' labels say of their source.
The console of the lab is at port 8181 of this machine; CONSOLE_PORT=PORT chooses another one.
USAGE
}

# Nothing may follow the command.
takes_nothing() {
    local command=$1
    shift
    (($# == 0)) && return
    say "./dev docker $command takes no '$1'."
    docker_usage >&2
    exit 2
}

# ---- the engine

has_engine() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }
has_compose() { docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null; }

need_docker() {
    has_engine || command -v dockerd >/dev/null || missing+=(docker.io)
    has_compose || missing+=(docker-compose)
}

compose() {
    if docker compose version >/dev/null 2>&1; then
        docker compose "$@"
    else
        docker-compose "$@"
    fi
}

# Ends when an engine does not answer for a reason that starting one would not mend.
refuse_hopeless_engine() {
    local said
    said=$(docker version 2>&1 >/dev/null || true)
    if [[ $said == *"permission denied"* ]]; then
        fail "A Docker engine runs, but $(id -un) may not use it: use sudo, or become a member of its group" \
            "with: usermod -aG docker $(id -un)   (as root; it counts from the next login on)"
    fi
    [[ -z ${DOCKER_HOST:-} ]] || fail "No Docker engine answers at $DOCKER_HOST, which DOCKER_HOST names."
    ((EUID == 0)) || fail "No Docker engine answers. Start one (systemctl start docker), or let $(id -un) use it."
}

# The engine that this script started, if it still runs.
own_engine() {
    local pid
    pid=$(cat "$ENGINE/dockerd.pid" 2>/dev/null) || return 1
    grep -qa dockerd "/proc/$pid/cmdline" 2>/dev/null && printf '%s' "$pid"
}

# Becomes a command that has nothing open but its input and outputs: what goes on when this script has ended must
# not hold a lock that was taken around it.
become_alone() {
    local each
    for each in /proc/self/fd/*; do
        each=${each##*/}
        ((each <= 2)) || eval "exec $each>&-"
    done
    exec setsid nohup "$@"
}

# Tries an engine with some options; one that does not answer is ended.
try_engine() {
    local pid
    become_alone dockerd "$@" >"$ENGINE/dockerd.log" 2>&1 </dev/null &
    pid=$!
    printf '%s' "$pid" >"$ENGINE/dockerd.pid"
    for _ in {1..120}; do
        ! has_engine || return 0
        kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.25
    done
    kill "$pid" 2>/dev/null || true
    return 1
}

# Starts an engine where none runs. A kernel or a sandbox may lack what it wants: then it is to do without.
start_engine() {
    ! has_engine || return 0
    refuse_hopeless_engine
    if [[ -d /run/systemd/system ]] && systemctl start docker && has_engine; then return; fi
    mkdir -p "$ENGINE"
    local options
    for options in "" "--storage-driver=vfs" "--iptables=false" "--iptables=false --storage-driver=vfs"; do
        # shellcheck disable=SC2086 # the options are words
        if try_engine $options; then
            say "Started a Docker engine${options:+ with $options}; ./dev docker down ends it."
            return
        fi
    done
    tail -n 20 "$ENGINE/dockerd.log" >&2
    fail "No Docker engine could be started; the end of its log is above."
}

end_own_engine() {
    local pid deadline=$((SECONDS + ENGINE_END_S))
    pid=$(own_engine) || return 0
    if [[ -n $(docker ps --quiet) ]]; then
        say "The Docker engine goes on: other containers run."
        return
    fi
    kill "$pid"
    while kill -0 "$pid" 2>/dev/null; do
        ((SECONDS < deadline)) || fail "The Docker engine, process $pid, does not end; see $ENGINE/dockerd.log."
        sleep 0.1
    done
    rm -f "$ENGINE/dockerd.pid"
    say "The Docker engine that was started here has ended."
}

# ---- the images

# A full disk would fail in the middle, and take others along.
check_room() {
    local driver folder free wanted=$ROOM_MIB
    read -r driver folder < <(docker info --format '{{.Driver}} {{.DockerRootDir}}')
    [[ -d $folder ]] || return 0 # of another machine
    [[ $driver != vfs ]] || wanted=$ROOM_VFS_MIB
    free=$(df --output=avail -m "$folder" | tail -n 1)
    ((free >= wanted)) || fail \
        "The disk is almost full: Docker keeps its images in $folder, where $((free)) MiB are free; $wanted are needed." \
        "Nothing was changed. 'docker system df' says what takes the room, 'docker system prune' frees what nobody uses."
}

# What the images are built on.
choose_base() {
    if [[ -n ${BASE:-} ]]; then
        return
    elif docker image inspect "$BASE_DEFAULT" >/dev/null 2>&1; then
        BASE=$BASE_DEFAULT
    elif ((EUID == 0)) && command -v apt-get >/dev/null; then
        command -v debootstrap >/dev/null || missing+=(debootstrap)
        install_missing
        patiently "Making the base image $BASE_MADE" docker/bootstrap-base.sh "$BASE_MADE" \
            || fail "The base image could not be made: look at the messages above, at the network and at the disk."
        BASE=$BASE_MADE
    else
        BASE=$BASE_DEFAULT
    fi
}

# Where the source can be had: what SOURCE says, or where this clone is from if that is an address of the web.
source_url() {
    local url=${SOURCE:-$(git remote get-url origin 2>/dev/null || true)}
    if [[ $url =~ ^(https?://)([^/@]*@)?(.+)$ ]]; then
        printf '%s' "${BASH_REMATCH[1]}${BASH_REMATCH[3]}" # without a name and a password
    else
        printf unknown
    fi
}

build_image() {
    local target=$1 name=$2 variable words=()
    for variable in http_proxy https_proxy no_proxy; do
        [[ -z ${!variable:-} ]] || words+=(--build-arg "$variable=${!variable}")
    done
    # The host's network, so that a build reaches what this machine reaches.
    patiently "Building the image $name on $BASE" docker build --network host --build-arg "BASE=$BASE" \
        --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || printf unknown)" \
        --build-arg "SOURCE=$(source_url)" "${words[@]}" \
        --file docker/Dockerfile --target "$target" --tag "$name:latest" . \
        || fail "The image $name could not be built: look at the messages above. What is built is kept: try again."
}

docker_build() {
    need_docker
    install_missing
    start_engine
    check_room
    choose_base
    build_image host fabric-host
    build_image fabric fabric
}

# ---- the lab

lab_is_there() {
    local what
    for what in container volume network; do
        local words=("$what" ls --quiet --filter "label=com.docker.compose.project=$LAB_PROJECT")
        [[ $what != container ]] || words+=(--all)
        [[ -z $(docker "${words[@]}") ]] || return 0
    done
    return 1
}

end_lab() {
    if ! command -v docker >/dev/null; then
        say "No lab is there: Docker is not installed."
    elif ! has_engine; then
        [[ ! $(docker version 2>&1 >/dev/null || true) == *"permission denied"* ]] || refuse_hopeless_engine
        say "No lab is there: no Docker engine runs."
    elif ! lab_is_there; then
        say "No lab is there."
    else
        compose --project-name "$LAB_PROJECT" --file docker/compose.yaml \
            down --volumes --remove-orphans --timeout 30
        say "The lab has ended, with all it stored."
    fi
}

docker_lab() {
    case ${1:-} in
        --stop)
            takes_nothing "lab --stop" "${@:2}"
            end_lab
            return
            ;;
        -h | --help)
            docker_usage
            return
            ;;
        *) takes_nothing lab "$@" ;;
    esac
    docker_build
    need_python
    install_missing
    make_venv
    exec "$VENV/bin/python" -m fabric.lab_docker --project "$LAB_PROJECT" --file docker/compose.yaml
}

docker_test() {
    docker_build
    need_python
    need_faults --nfs
    need_systemd
    install_missing
    make_venv
    if (($# > 0)); then
        exec "$VENV/bin/pytest" -m docker tests/docker "$@"
    fi
    # Each lab with its tests stays on one worker, as tests/docker/conftest.py says.
    exec "$VENV/bin/pytest" --numprocesses "$LABS" --no-loadscope-reorder -m docker tests/docker
}

docker_main() {
    local command=${1:-help}
    (($# == 0)) || shift
    case $command in
        build)
            takes_nothing build "$@"
            docker_build
            ;;
        lab) docker_lab "$@" ;;
        test) docker_test "$@" ;;
        faults) faults "$@" ;;
        down)
            takes_nothing down "$@"
            end_lab
            end_own_engine
            ;;
        help | -h | --help) docker_usage ;;
        *)
            say "./dev docker has no command '$command'."
            docker_usage >&2
            exit 2
            ;;
    esac
}
