
# The commands and options of the incluster binary.
_incluster_commands+=(run new check compile compose wit)
_incluster_options+=(--server --service-account-dir --metrics)
_incluster_options_of+=(
  config '-h --help --server --service-account-dir --metrics'
  completion '-h --help --server --service-account-dir --metrics'
  help '-h --help --server --service-account-dir --metrics'
  version '-h --help --server --service-account-dir --metrics'
  run '--precompiled --cache --pods --debug --policy --memory --cpu-time --wall-time --response-mib --requests-per-second --open-streams --allow --refuse --load-limits -h --help'
  new '--language -h --help'
  check '-o --output --allow --refuse --load-limits -h --help'
  compile '-o --output --allow --refuse --load-limits -h --help'
  compose '-o --output --standalone --allow --refuse --load-limits -h --help'
  wit '-h --help'
)
_incluster_words+=('new --language' 'rust javascript python go' 'check -o' 'text json' 'compile -o' '' 'compose -o' '')
_incluster_values+=(--server --metrics --memory --cpu-time --wall-time --response-mib --requests-per-second --open-streams)
_incluster_values+=(--allow --refuse)
_incluster_files+=(--service-account-dir --cache --pods --policy --load-limits)
_incluster_file_commands+=(run new check compile compose wit)
