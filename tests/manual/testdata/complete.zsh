# complete.zsh LINE: starts an interactive zsh, types the line and a tab, and waits for its end. It leaves what is offered in a
# file: see zshrc.
zmodload zsh/zpty
zpty shell zsh -i
zpty -w -n shell "$1"$'\t'
while zpty -r shell line; do :; done
