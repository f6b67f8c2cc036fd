#!/bin/sh
# Installs the Debian packages that are missing, and nothing else:
#
#   tools/setup.sh build    what `make build` needs
#   tools/setup.sh run      ... and what `make run` needs
#   tools/setup.sh test     ... and what `make test`, `bench`, `soak`, `fuzz` and `tidy` need
#
# Says nothing and needs no rights when all is there. The package lists are refreshed only when one
# of the packages can't be installed without that.
#
# Three of the packages bring a system service. Nothing is left running, now or after the next boot,
# that was not there before: a service that is new with us is neither started nor enabled. Services
# that were installed already are not touched.
set -eu

build='gcc libc6-dev cmake ninja-build pkg-config libxxhash-dev libmicrohttpd-dev libjansson-dev'
run='redis-server'
tests='libcmocka-dev python3 python3-pytest python3-hypothesis python3-redis redis-tools nutcracker
       memcached clang-14 clang-format-14 clang-tidy-14 libclang-rt-14-dev valgrind zstd
       libzstd-dev'
services='redis-server nutcracker memcached' # package, command and service share a name

case ${1:-} in
build) wanted=$build ;;
run) wanted="$build $run" ;;
test) wanted="$build $run $tests" ;;
*) echo "usage: tools/setup.sh build|run|test" >&2; exit 2 ;;
esac

is_installed() {
    case $(dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null) in
    ii*) return 0 ;;
    esac
    # A server that was put there by other means serves as well.
    case " $services " in
    *" $1 "*) command -v "$1" >/dev/null 2>&1 ;;
    *) return 1 ;;
    esac
}

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "setup: not a Debian system: see the package names in tools/setup.sh" >&2
    exit 0
fi
missing=
for package in $wanted; do
    is_installed "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null 2>&1; then
        echo "setup: needs root to install:$missing"
        exec sudo -- "$0" "$@"
    fi
    echo "setup: missing packages; as root: apt-get install --no-install-recommends$missing" >&2
    exit 1
fi

# invoke-rc.d asks policy-rc.d before it starts a service. Ours says no for the new ones, and passes
# every other question on to the one that stood here.
policy=/usr/sbin/policy-rc.d
saved=$policy.before-weir
new_services=
for package in $missing; do
    case " $services " in
    *" $package "*) new_services="$new_services $package" ;;
    esac
done
restore_policy() {
    [ -n "$new_services" ] || return 0
    rm -f "$policy"
    [ ! -e "$saved" ] || mv "$saved" "$policy"
}
if [ -n "$new_services" ]; then
    [ -e "$saved" ] || [ ! -e "$policy" ] || mv "$policy" "$saved"
    trap restore_policy EXIT
    trap 'exit 1' HUP INT TERM
    cat >"$policy" <<POLICY
#!/bin/sh
for word; do
    case " $new_services " in *" \${word%.service} "*) exit 101 ;; esac
done
[ ! -x $saved ] || exec $saved "\$@"
exit 0
POLICY
    chmod 755 "$policy"
fi

echo "setup: installing$missing"
export DEBIAN_FRONTEND=noninteractive
refresh() {
    apt-get -q -o DPkg::Lock::Timeout=300 update
}
install() {
    # shellcheck disable=SC2086
    apt-get -y -q --no-install-recommends -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 \
        install $missing </dev/null
}
# shellcheck disable=SC2086
if [ "$(apt-cache policy $missing 2>/dev/null | grep -c '^  Candidate: [^(]')" != \
    "$(set -- $missing; echo $#)" ]; then
    refresh
    install
else
    install || { refresh; install; } # lists that are too old name files that have gone
fi

for service in $new_services; do
    update-rc.d "$service" disable >/dev/null 2>&1 || true # as good as absent at the next boot
    echo "setup: $service is installed; its system service is off (systemctl enable --now $service)"
done
