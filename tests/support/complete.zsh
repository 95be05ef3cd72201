# Types each of its arguments into an interactive zsh, presses the tab key, and prints the line that comes out.
zmodload zsh/zpty
zpty z "zsh -f -i"
zpty -w z 'PROMPT=; fpath=($PWD $fpath); autoload -Uz compinit; compinit -D -u; shown() { zle complete-word; print -r -- "BUFFER:$BUFFER:END" }; zle -N shown; bindkey "^X" shown; print REA""DY'
typeset line
while zpty -r z line; do [[ $line == READY* ]] && break; done
for typed in "$@"; do
    zpty -w -n z "$typed"$'\x18'
    while zpty -r z line; do [[ $line == *BUFFER:*:END* ]] && break; done
    print -r -- ${${line#*BUFFER:}%%:END*}
    zpty -w -n z $'\x15'
done
zpty -d z
