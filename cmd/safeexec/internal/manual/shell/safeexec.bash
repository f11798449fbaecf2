# bash completion for safeexec(1)                                           -*- shell-script -*-

# Options by mode: the subcommand, or run.
declare -gA _safeexec_options=(
@OPTIONS@)
# What a value is, by mode and option: words (with + in front, several separated by commas), or LIST, FILE, PID, ...
declare -gA _safeexec_values=(
@VALUES@)
# Options whose value comes only behind "=".
declare -gA _safeexec_optional=(
@OPTIONAL@)

# The words of COMP_WORDS up to the cursor, with what bash has split at = and : joined again, and where each began.
_safeexec_join() {
	local i word
	for ((i = 0; i <= COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if ((i > 1)) && [[ $word == [:=]* || ${COMP_WORDS[i - 1]} == *[:=] && ${COMP_WORDS[i - 1]} != -* ]]; then
			words[-1]+=$word
		else
			words+=("$word") starts+=("$i")
		fi
	done
}

# The descriptors of this shell, which are the ones to name, behind what has been written of a LIST.
_safeexec_list() {
	local written=${cur%"${cur##*[,:-]}"} n
	for n in /proc/$$/fd/*; do
		COMPREPLY+=("$written${n##*/}")
	done
	[[ -z $1 ]] || COMPREPLY+=("$written$1")
}

# One or several of a few words.
_safeexec_words() {
	local written= word
	if [[ $1 == + ]]; then
		written=${cur%"${cur##*,}"}
		shift
	fi
	for word; do
		[[ ,$written == *,$word,* ]] || COMPREPLY+=("$written$word")
	done
}

# What may stand for a value; those that don't begin as cur does are left out afterwards.
_safeexec_value() {
	local n
	case $1 in
	LIST* | N) # shellcheck disable=SC2086 # words
		_safeexec_list ${1#"${1%% *}"} ;;
	PID) for n in /proc/[0-9]*; do COMPREPLY+=("${n##*/}"); done ;;
	FILE)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		;;
	PATH)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		;;
	[A-Z]*) ;;
	*) # shellcheck disable=SC2086 # words
		_safeexec_words $1 ;;
	esac
}

# Programs in PATH; what only the shell knows can't be started.
_safeexec_programs() {
	local -A seen
	local name
	while read -r name; do
		[[ -z ${seen[$name]-} ]] && type -P -- "$name" >/dev/null && COMPREPLY+=("$name")
		seen[$name]=1
	done < <(compgen -c -- "$cur")
}

# The command's own words are completed as if it stood alone.
_safeexec_command() {
	if declare -F _comp_command_offset >/dev/null; then
		_comp_command_offset "$1"
	elif declare -F _command_offset >/dev/null; then
		_command_offset "$1"
	elif (($1 == COMP_CWORD)); then
		_safeexec_programs
	else
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
	fi
}

# Keeps what begins as cur does, without the part before the last = or :, which bash leaves in its place.
_safeexec_fit() {
	local fitting=() reply left=${cur%"${cur##*[:=]}"}
	for reply in "${COMPREPLY[@]}"; do
		[[ $reply != "$cur"* ]] || fitting+=("${reply#"$left"}")
	done
	COMPREPLY=("${fitting[@]}")
}

_safeexec() {
	local words=() starts=() i=1 mode=run cur value
	COMPREPLY=()
	_safeexec_join
	local last=$((${#words[@]} - 1))
	cur=${words[last]}
	# A subcommand is one only as the very first argument.
	if ((last > 1)) && [[ ${words[1]} != run && -v "_safeexec_options[${words[1]}]" ]]; then
		mode=${words[1]} i=2
	fi
	for (( ; i < last; i++)); do
		value=${_safeexec_values["$mode ${words[i]}"]-}
		case ${words[i]} in
		--)
			((++i))
			[[ $mode != run ]] || _safeexec_command "${starts[i]}"
			return
			;;
		--*=*) ;;
		-*)
			[[ -n $value && -z ${_safeexec_optional["$mode ${words[i]}"]-} ]] || continue
			if ((++i == last)); then
				_safeexec_value "$value"
				_safeexec_fit
				return
			fi
			;;
		*)
			[[ $mode != run ]] || _safeexec_command "${starts[i]}"
			return
			;;
		esac
	done
	case $cur in
	--*=*)
		local option=${cur%%=*}
		value=${_safeexec_values["$mode $option"]-}
		cur=${cur#*=}
		[[ -z $value ]] || _safeexec_value "$value"
		;;
	-*)
		# shellcheck disable=SC2206 # words
		COMPREPLY=(${_safeexec_options[$mode]})
		;;
	*)
		case $mode in
		run)
			if ((last == 1)); then
				local name
				for name in "${!_safeexec_options[@]}"; do
					[[ $name == run || $name != "$cur"* ]] || COMPREPLY+=("$name")
				done
			fi
			_safeexec_programs
			return
			;;
		doctor) _safeexec_value PID ;;
		esac
		;;
	esac
	_safeexec_fit
}

complete -F _safeexec safeexec
