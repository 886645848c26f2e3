# What the parts of CI share: sourced by them, never run.
# shellcheck shell=bash
set -euo pipefail
exec </dev/null

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_PROGRESS_BAR=off
# Errors only.
export PIP_QUIET=2
export PIP_ROOT_USER_ACTION=ignore

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export checkout

step() { # a headline, with the seconds since the start
  printf '\n== %s (%d s)\n' "$*" "$SECONDS"
}

in_background() { # a log, and a command; `finished` waits for it, and shows the log
  local log=$1
  shift
  "$@" >"$log" 2>&1 &
}

finished() { # a job, and its log
  local status=0
  wait "$1" || status=$?
  cat "$2"
  return "$status"
}

virtual_environment() { # a folder, a Python, and what its pip is to install there
  local folder=$1 python=$2
  shift 2
  "$python" -m venv "$folder"
  # Dependency groups need pip 25.1; Debian 12 has 23.0.
  "$folder/bin/python" -m pip install --upgrade 'pip>=25.1'
  "$folder/bin/python" -m pip install --no-compile "$@"
}

versions() { # a folder with a virtual environment: checks what is installed, and names the most important
  env -u PIP_QUIET "$1/bin/python" -m pip check
  "$1/bin/python" -c 'if True:
    import sys
    from importlib.metadata import version
    names = "streamkit starlette fastapi anyio pydantic uvicorn pytest".split()
    print("Python " + sys.version.split()[0], *(f"{n} {version(n)}" for n in names), sep=", ")'
}

run_tests() { # a folder with the project, a log, and a command that ends in pytest and its arguments
  local project=$1 log=$2
  shift 2
  # A test that hangs shows where, and doesn't keep the run for ever. Most tests wait for something.
  (cd "$project" && timeout 900 "$@" -n 4 --dist loadfile \
    -p no:cacheprovider --durations 10 -o faulthandler_timeout=120) 2>&1 |
    tee "$log"
}
