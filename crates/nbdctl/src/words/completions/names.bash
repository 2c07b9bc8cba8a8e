
# Where the name of an export, the number of a session or a file stands, those that there are are offered; what the
# generated function says stands everywhere else.
_nbdctl_names() {
    local word="" at values=0 cur="${COMP_WORDS[COMP_CWORD]}" names name
    local -a ask=("$1" --timeout 1)
    for ((at = 1; at < COMP_CWORD; at++)); do
        case "${COMP_WORDS[at]}" in
            --socket) ask+=(--socket "${COMP_WORDS[at + 1]}"); ((at++)) ;;
            --timeout | --count | --interval | -n | -i) ((at++)) ;;
            -*) ;;
            *) if [[ -z "$word" ]]; then word="${COMP_WORDS[at]}"; else ((values++)); fi ;;
        esac
    done
    # The value of an option, or an option.
    if ((at > COMP_CWORD)) || [[ "$cur" == -* ]]; then
        word=""
    fi
    case "$word:$values" in
        exports:0 | fence:0 | clear:0 | remove:0) names=$("${ask[@]}" exports --names 2>/dev/null) ;;
        sessions:0 | end:0) names=$("${ask[@]}" sessions --ids 2>/dev/null) ;;
        check:0 | add:[1-9]*) COMPREPLY=(); compopt -o default 2>/dev/null; return ;;
        add:0) COMPREPLY=(); compopt +o default +o bashdefault 2>/dev/null; return ;;
        *) _nbdctl "$@"; return ;;
    esac
    COMPREPLY=()
    compopt +o default +o bashdefault 2>/dev/null
    while IFS= read -r name; do
        [[ -n "$name" ]] || continue
        # A name with blanks is one word.
        name=$(printf %q "$name")
        [[ "$name" == "$cur"* ]] && COMPREPLY+=("$name")
    done <<<"$names"
}

complete -F _nbdctl_names -o bashdefault -o default nbdctl
