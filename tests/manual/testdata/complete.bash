# complete.bash WORD...: what the completion offers for the last word of a command line that bash has split, one a line.
source "$COMPLETIONS/safeexec" || exit
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
_safeexec
printf '%s\n' "${COMPREPLY[@]}"
