# Completes the command lines of incluster in bash: source <(incluster completion bash)
_incluster_commands='pods get config completion help version'
_incluster_options='-n --namespace -A --all-namespaces -l --selector --field-selector --limit --chunk-size -o --output --no-headers
  --show-labels -w --watch --watch-only --raw --attempts --timeout -h --help -V --version'
_incluster_options_config='-h --help'
_incluster_options_completion='-h --help'
_incluster_options_help='-h --help'
_incluster_options_version='-h --help'
# The words that an option's value may be, by command (none before it) and option. No words: the value is a file.
declare -gA _incluster_words=()
_incluster_words[' -o']='table wide json yaml name'
_incluster_words['pods -o']='table wide json yaml name'
_incluster_words['get -o']='table wide json yaml name'
# Options with a value that cannot be completed, options whose value is a file, and commands whose argument is one.
_incluster_values='-n --namespace -l --selector --field-selector --limit --chunk-size --raw --attempts --timeout'
_incluster_files=''
_incluster_file_commands=''

_incluster() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} command='' is_value='' is_file='' word words=''
  # Bash splits at = and :, so a value may be several words.
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    if [[ $word == [=:]* ]]; then
      is_value=yes
    elif [ -n "$is_value" ]; then
      is_value=''
    elif [[ " $_incluster_values $_incluster_files -o --output " == *" $word "* ]]; then
      is_value=yes
    elif [[ " $_incluster_commands " == *" $word "* ]]; then
      command=$word
      break
    fi
  done
  if [[ $current == [=:]* ]]; then
    current='' is_value=yes
  elif [[ $previous == = ]]; then
    previous=${COMP_WORDS[COMP_CWORD-2]}
  fi
  local option=${previous/#--output/-o}
  local key="$command $option" of=_incluster_options_$command
  COMPREPLY=()
  if [ -n "${_incluster_words[$key]+set}" ]; then
    words=${_incluster_words[$key]}
    [ -n "$words" ] || is_file=yes
  elif [[ " $_incluster_values " == *" $previous "* ]]; then
    return
  elif [[ " $_incluster_files " == *" $previous "* ]]; then
    is_file=yes
  elif [[ $current == -* ]]; then
    words=${!of-$_incluster_options}
  elif [ -z "$command" ]; then
    [ -n "$is_value" ] || words=$_incluster_commands
  elif [[ " $_incluster_file_commands " == *" $command "* ]]; then
    is_file=yes
  elif [[ $command == get && $previous == get ]]; then
    words=pods
  elif [[ $command == completion && $previous == completion ]]; then
    words='bash zsh fish'
  fi
  if [ -n "$is_file" ]; then
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  else
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  fi
}

complete -F _incluster incluster
