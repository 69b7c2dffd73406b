package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

// completion is `weir completion`: it prints scripts for shell completion.
func completion() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "Print what lets bash, zsh or fish complete commands and flags",
		ArgsUsage: "SHELL",
		Description: `
  source <(weir completion bash)          in ~/.bashrc
  source <(weir completion zsh)           in ~/.zshrc, after compinit
  weir completion fish | source           in ~/.config/fish/config.fish`[1:],
		Action: func(c *cli.Context) error {
			var script string
			var err error
			switch shell := arguments(c)[0]; shell {
			case "bash":
				script = bashCompletion(c.App.Commands)
			case "zsh":
				script = "autoload -U +X bashcompinit && bashcompinit\n" + bashCompletion(c.App.Commands)
			case "fish":
				script, err = c.App.ToFishCompletion()
			default:
				return usagef("there is no completion for %q: expected bash, zsh or fish", shell)
			}
			if err != nil {
				return fmt.Errorf("writing the completion: %w", err)
			}
			_, err = io.WriteString(c.App.Writer, script)
			return err
		},
	}
}

// bashCompletion returns a script that finds the command in the line so far and offers what may follow it; files
// where nothing may follow, or for the value of a flag.
func bashCompletion(cmds []*cli.Command) string {
	var paths, follow strings.Builder
	var walk func(cmds []*cli.Command, flags []cli.Flag, path string)
	walk = func(cmds []*cli.Command, flags []cli.Flag, path string) {
		var words []string
		for _, c := range cmds {
			if c.Hidden || c.Name == "help" {
				continue
			}
			words = append(words, c.Name)
			at := strings.TrimSpace(path + " " + c.Name)
			fmt.Fprintf(&paths, "      %q) path=%q ;;\n", at, at)
			walk(c.Subcommands, c.Flags, at)
		}
		for _, f := range flags {
			for _, name := range f.Names() {
				if len(name) > 1 {
					words = append(words, "--"+name)
				}
			}
		}
		fmt.Fprintf(&follow, "    %q) words=%q ;;\n", path, strings.Join(words, " "))
	}
	walk(cmds, nil, "")
	return `_weir() {
  local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" path="" words="" word
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "${path:+$path }$word" in
` + paths.String() + `    esac
  done
  COMPREPLY=()
  [[ $prev == -* && $cur != -* ]] && return
  case "$path" in
` + follow.String() + `  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _weir weir
`
}
