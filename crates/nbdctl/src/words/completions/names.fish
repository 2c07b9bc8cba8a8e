
# Where the name of an export or the number of a session stands, the server is asked for those that there are.
complete -c nbdctl -n "__fish_nbdctl_using_subcommand exports fence clear remove" -f -a "(nbdctl --timeout 1 exports --names 2>/dev/null)"
complete -c nbdctl -n "__fish_nbdctl_using_subcommand sessions end" -f -a "(nbdctl --timeout 1 sessions --ids 2>/dev/null)"
