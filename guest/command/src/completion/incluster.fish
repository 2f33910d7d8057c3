# Completes the command lines of incluster in fish: incluster completion fish | source
set -g __incluster_commands pods get config completion help version
# The options with a value that may stand before the command.
set -g __incluster_values -n --namespace -l --selector --field-selector --limit --chunk-size -o --output --raw --attempts --timeout

# Whether the command is one of these; it is "none" before there is one.
function __incluster_is
    set --local tokens (commandline -opc)
    set --erase tokens[1]
    set --local command none
    set --local is_value ''
    for token in $tokens
        if test -n "$is_value"
            set is_value ''
        else if contains -- $token $__incluster_values
            set is_value yes
        else if contains -- $token $__incluster_commands
            set command $token
            break
        end
    end
    contains -- $command $argv
end

# Whether the command is this one, and nothing stands between it and the cursor.
function __incluster_ends_with
    set --local tokens (commandline -opc)
    __incluster_is $argv[1]; and test "$tokens[-1]" = $argv[1]
end

complete -c incluster -f
complete -c incluster -n '__incluster_is none' -a pods -d 'List the pods of a namespace, or print one of them'
complete -c incluster -n '__incluster_is none' -a get -d 'Print pods, or the answer to a GET'
complete -c incluster -n '__incluster_is none' -a config -d 'Show the API server, the namespace, the token and ca.crt'
complete -c incluster -n '__incluster_is none' -a completion -d 'Print a script that completes command lines'
complete -c incluster -n '__incluster_is none' -a help -d 'Show the help'
complete -c incluster -n '__incluster_is none' -a version -d 'Show the version'
complete -c incluster -n '__incluster_ends_with get' -a pods
complete -c incluster -n '__incluster_ends_with completion' -a 'bash zsh fish'
complete -c incluster -n '__incluster_is none pods get' -s n -l namespace -x -d 'The namespace'
complete -c incluster -n '__incluster_is none pods get' -s A -l all-namespaces -d 'The pods of all namespaces'
complete -c incluster -n '__incluster_is none pods get' -s l -l selector -x -d 'Only pods with these labels'
complete -c incluster -n '__incluster_is none pods get' -l field-selector -x -d 'Only pods with these fields'
complete -c incluster -n '__incluster_is none pods get' -l limit -x -d 'At most this many pods'
complete -c incluster -n '__incluster_is none pods get' -l chunk-size -x -d 'Ask for this many pods at a time'
complete -c incluster -n '__incluster_is none pods get' -s o -l output -x -a 'table wide json yaml name' -d 'The format'
complete -c incluster -n '__incluster_is none pods get' -l no-headers -d 'No line with the names of the columns'
complete -c incluster -n '__incluster_is none pods get' -l show-labels -d 'The labels in the last column'
complete -c incluster -n '__incluster_is none pods get' -s w -l watch -d 'Then print the pods that change'
complete -c incluster -n '__incluster_is none pods get' -l watch-only -d 'Print only the pods that change'
complete -c incluster -n '__incluster_is none get' -l raw -x -d 'Print the answer to a GET of this path'
complete -c incluster -n '__incluster_is none pods get' -l attempts -x -d 'Send a request at most this many times'
complete -c incluster -n '__incluster_is none pods get' -l timeout -x -d 'Give a request up after this many seconds'
complete -c incluster -s h -l help -d 'Show the help'
complete -c incluster -n '__incluster_is none pods get' -s V -l version -d 'Show the version'
