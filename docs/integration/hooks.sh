#!/bin/sh
# The calls of a program that attaches and detaches volumes, in shell.
#
#   hooks.sh attach NAME DEVICE      the volume is attached, its device is there
#   hooks.sh detach NAME             the volume goes: best called before it is detached
#   hooks.sh cleanup NAME...         remove all exports of includedir but these
#
# NBD_VIA=nbdctl (where nothing is said) or curl. NBD_SOCKET is the control socket, NBD_TIMEOUT the seconds that the
# server may take for one call, NBD_WAIT how many more what hangs is waited for.
#
# Ends with 0: done. 1: refused, nothing was changed. 2: done in part or not known, and the disk may be in use. 3: no
# server, nothing was changed. 64: usage.
set -u

socket=${NBD_SOCKET:-/run/nbd-server/control.sock}
timeout=${NBD_TIMEOUT:-30}
wait=${NBD_WAIT:-10}
nbdctl=${NBDCTL:-nbdctl}

say() { echo "hooks.sh: $*" >&2; }

ctl() { "$nbdctl" --socket "$socket" --timeout "$timeout" "$@"; }

# http METHOD PATH [BODY]: the body of the answer on standard output, and an exit code of ours for its status.
http() {
    method=$1 path=$2 body=${3-}
    # The server answers within its own time, and names what hangs; --max-time is for one that does not answer at all.
    answer=$(curl --silent --unix-socket "$socket" --max-time $((timeout + 2)) --request "$method" \
        ${body:+--header "Content-Type: application/json" --data "$body"} \
        --write-out '\n%{http_code}' "http://localhost/v1/$path?timeout_ms=${timeout}000")
    curl_ended=$?
    status=$(printf '%s' "$answer" | tail -n 1)
    printf '%s\n' "$answer" | sed '$d'
    case $curl_ended in
        0) ;;
        7) say "no server on $socket"; return 3 ;;      # could not connect
        *) say "no answer (curl $curl_ended)"; [ "$method" = GET ] && return 3; return 2 ;;
    esac
    case $status in
        2*) [ "$status" = 207 ] && return 2; return 0 ;;
        429 | 503) say "the server is busy, and has not begun"; return 3 ;;
        4*) say "refused: $(printf '%s' "$answer" | sed '$d')"; return 1 ;;
        *) say "HTTP $status"; return 2 ;;
    esac
}

# Names and paths go into a URL and into JSON as they are: what would have to be written otherwise is not taken.
plain() {
    case $1 in
        '' | *[!A-Za-z0-9._-]*) say "$1: a name of letters, digits and ._- is wanted"; exit 64 ;;
    esac
}

plain_path() {
    case $1 in
        *[!A-Za-z0-9._:@+/-]*) say "$1: a path of letters, digits and ._:@+/- is wanted"; exit 64 ;;
        /*) ;;
        *) say "$1: an absolute path is wanted"; exit 64 ;;
    esac
}

# What is asked for, in both ways.
put() {
    case $via in
        nbdctl) ctl add --replace "$1" "$2" readonly=false multifile=false copyonwrite=false ;;
        curl)
            http PUT "exports/$1" "{\"exportname\": \"$2\", \"readonly\": \"false\", \"multifile\": \"false\", \
\"copyonwrite\": \"false\"}"
            ;;
    esac
}

remove() {
    case $via in
        nbdctl) ctl remove "$1" ;;
        curl) http DELETE "exports/$1" ;;
    esac
}

exports() {
    case $via in
        nbdctl) ctl exports --json ;;
        curl) http GET exports ;;
    esac
}

one() {
    case $via in
        nbdctl) ctl exports --json "$1" ;;
        curl) http GET "exports/$1" ;;
    esac
}

# 0: there is an export of this name, configured or hanging. 1: there is none. 3: nobody could be asked.
is_there() {
    seen=$(exports 2>/dev/null) || return 3
    case $seen in *"\"name\":\"$1\""*) return 0 ;; *) return 1 ;; esac
}

# 207 and exit code 2 may be for another export's sake. This asks for ours until nothing of the past hangs on it.
wait_free() {
    until=$(($(date +%s) + wait))
    while :; do
        is_there "$1"
        case $? in
            0)
                seen=$(one "$1" 2>/dev/null)
                case $?,$seen in
                    0,*'"state":"fencing"'* | 0,*'"hanging":[{'*) ;;
                    0,*) return 0 ;;
                esac
                ;;
            1) return 0 ;;
        esac
        if [ "$(date +%s)" -ge "$until" ]; then
            say "$1: its disk may be in use still: $seen"
            return 2
        fi
        sleep 1
    done
}

# The file is written with these keys and no others.
attach() {
    put "$1" "$2"
    ended=$?
    # Not known, or it hangs: once more is the way to know. It may be done any number of times.
    if [ $ended -eq 2 ]; then
        wait_free "$1" || return 2
        put "$1" "$2"
        ended=$?
        [ $ended -eq 2 ] && say "$1: the server is not in step for other exports' sake"
    fi
    case $ended in 0 | 2) ;; *) return $ended ;; esac
    case $(one "$1") in
        *'"state":"serving"'*) return 0 ;;
        *) say "$1: not served"; return 2 ;;
    esac
}

detach() {
    remove "$1"
    ended=$?
    case $ended in 1 | 2) ;; *) return $ended ;; esac
    if [ $ended -eq 2 ]; then wait_free "$1" || return 2; fi
    is_there "$1"
    case $? in
        1) return 0 ;;                  # gone; after a refusal, somebody was first
        3) return 3 ;;
    esac
    case $ended,$(one "$1" 2>/dev/null) in
        1,*'"configured":true'*) return 1 ;;            # it was refused
        1,*) wait_free "$1" ;;                          # somebody was first, and it hangs
        *) say "$1: it is not removed"; return 2 ;;
    esac
}

cleanup() {
    if [ $# -eq 0 ]; then
        say "nothing is to be kept: this would remove all exports"
        return 1
    fi
    main=$(ctl status --json) || return 3
    main=$(printf '%s' "$main" | sed 's/.*"configuration":"\([^"]*\)".*/\1/')
    worst=0
    for name in $(ctl exports --names); do      # names as plain as those that are given
        case " $* " in *" $name "*) continue ;; esac
        # Those of the main file and of the command line are left alone.
        case $(ctl exports --json "$name") in
            *"\"file\":\"$main\""* | *'"file":null'* | *'"configured":false'*) continue ;;
        esac
        detach "$name"
        ended=$?
        say "$name: removed ($ended)"
        [ $ended -gt $worst ] && worst=$ended
    done
    return $worst
}

via=${NBD_VIA:-nbdctl}
case $via in nbdctl | curl) ;; *) say "NBD_VIA is nbdctl or curl"; exit 64 ;; esac
word=${1-}
[ $# -gt 0 ] && shift
case $word,$# in
    attach,2) plain "$1"; plain_path "$2"; attach "$1" "$2" ;;
    detach,1) plain "$1"; detach "$1" ;;
    cleanup,*) for name in "$@"; do plain "$name"; done; cleanup "$@" ;;
    *) say "attach NAME DEVICE, detach NAME or cleanup NAME... is wanted"; exit 64 ;;
esac
