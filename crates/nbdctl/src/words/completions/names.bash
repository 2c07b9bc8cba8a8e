
# Where the name of an export or the number of a session stands, the server is asked for those that there are; what the
# generated function says stands everywhere else.
_nbdctl_names() {
    local word="" at value=0 cur="${COMP_WORDS[COMP_CWORD]}" names name
    local -a ask=(nbdctl --timeout 1)
    for ((at = 1; at < COMP_CWORD; at++)); do
        case "${COMP_WORDS[at]}" in
            --socket) ask+=(--socket "${COMP_WORDS[at + 1]}"); ((at++)) ;;
            --timeout | --count | --interval | -n | -i) ((at++)) ;;
            -*) ;;
            *) if [[ -z "$word" ]]; then word="${COMP_WORDS[at]}"; else ((value++)); fi ;;
        esac
    done
    if ((at > COMP_CWORD || value > 0)) || [[ "$cur" == -* ]]; then
        word=""
    fi
    case "$word" in
        exports | fence | clear | remove) names=$("${ask[@]}" exports --names 2>/dev/null) ;;
        sessions | end) names=$("${ask[@]}" sessions --ids 2>/dev/null) ;;
        *) _nbdctl "$@"; return ;;
    esac
    COMPREPLY=()
    while IFS= read -r name; do
        # A name with blanks is one word.
        name=$(printf %q "$name")
        [[ -n "$name" && "$name" == "$cur"* ]] && COMPREPLY+=("$name")
    done <<<"$names"
}

complete -F _nbdctl_names nbdctl
