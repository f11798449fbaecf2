# fish completion for safeexec(1)

# What stands before the cursor: run, a subcommand, or command, which is followed by the command's own words.
function __safeexec_state
    set -l words (commandline -opc)
    set -e words[1]
    # A subcommand is one only as the very first argument.
    if contains -- "$words[1]" @NAMES@
        echo $words[1]
        return
    end
    while set -q words[1]
        switch $words[1]
            case --
                set -e words[1]
                printf '%s\n' command $words
                return
            case @VALUED@
                set -e words[1]
            case '-*'
            case '*'
                printf '%s\n' command $words
                return
        end
        set -e words[1]
    end
    echo run
end

function __safeexec_in
    set -l state (__safeexec_state)
    test "$state[1]" = "$argv[1]"
end

function __safeexec_first
    test (count (commandline -opc)) = 1
end

# The command's own words are completed as if it stood alone.
function __safeexec_command
    set -l words (__safeexec_state)
    set -l line (string escape -- $words[2..]) (commandline -ct)
    complete -C "$line"
end

# The descriptors of this shell, which are the ones to name, behind what has been written of a LIST.
function __safeexec_list
    set -l written (string match -r '.*[,:=-]' -- (commandline -ct | string replace -r '^--[a-z-]+=' ''))
    for n in (command ls /proc/$fish_pid/fd) $argv
        echo "$written$n"
    end
end

# Several words separated by commas.
function __safeexec_words
    set -l written (string match -r '.*,' -- (commandline -ct | string replace -r '^--[a-z-]+=' ''))
    for word in $argv
        echo "$written$word"
    end
end

complete -c safeexec -f
complete -c safeexec -n '__safeexec_in command' -a '(__safeexec_command)'
complete -c safeexec -n '__safeexec_in run' -a '(__fish_complete_command)'
complete -c safeexec -n '__safeexec_in doctor' -a '(__fish_complete_pids)'
@OPTIONS@
