# Completes the command lines of incluster in zsh, after compinit: source <(incluster completion zsh)
typeset -ga _incluster_commands _incluster_options _incluster_values _incluster_files _incluster_file_commands
typeset -gA _incluster_options_of _incluster_words
_incluster_commands=(pods get config completion help version)
_incluster_options=(
  -n --namespace -A --all-namespaces -l --selector --field-selector --limit --chunk-size -o --output --no-headers
  --show-labels -w --watch --watch-only --raw --attempts --timeout -h --help -V --version
)
# The options of the commands that have others.
_incluster_options_of=(config '-h --help' completion '-h --help' help '-h --help' version '-h --help')
# The words that an option's value may be, by command (none before it) and option. No words: the value is a file.
_incluster_words=(
  ' -o' 'table wide json yaml name'
  'pods -o' 'table wide json yaml name'
  'get -o' 'table wide json yaml name'
)
# Options with a value that cannot be completed, options whose value is a file, and commands whose argument is one.
_incluster_values=(-n --namespace -l --selector --field-selector --limit --chunk-size --raw --attempts --timeout)
_incluster_files=()
_incluster_file_commands=()

_incluster() {
  local current=${words[CURRENT]} previous=${words[CURRENT-1]} command='' is_value='' word
  for word in "${(@)words[2,CURRENT-1]}"; do
    if [[ -n $is_value ]]; then
      is_value=''
    elif [[ " $_incluster_values $_incluster_files -o --output " == *" $word "* ]]; then
      is_value=yes
    elif [[ " $_incluster_commands " == *" $word "* ]]; then
      command=$word
      break
    fi
  done
  if [[ $current == --*=* ]]; then
    previous=${current%%=*} current=${current#*=}
    compset -P 1 '*='
  fi
  local key="$command ${previous/#%--output/-o}"
  if (( ${+_incluster_words[$key]} )); then
    if [[ -n ${_incluster_words[$key]} ]]; then
      compadd -- ${=_incluster_words[$key]}
    else
      _files
    fi
  elif [[ " $_incluster_values " == *" $previous "* ]]; then
    return
  elif [[ " $_incluster_files " == *" $previous "* ]]; then
    _files
  elif [[ $current == -* ]]; then
    if [[ -n $command && -n ${_incluster_options_of[$command]} ]]; then
      compadd -- ${=_incluster_options_of[$command]}
    else
      compadd -- $_incluster_options
    fi
  elif [[ -z $command ]]; then
    compadd -- $_incluster_commands
  elif [[ " $_incluster_file_commands " == *" $command "* ]]; then
    _files
  elif [[ $command == get && $previous == get ]]; then
    compadd -- pods
  elif [[ $command == completion && $previous == completion ]]; then
    compadd -- bash zsh fish
  fi
}

compdef _incluster incluster
