// The calls of a program that attaches and detaches volumes, to be run by hand:
//
//	nbd-integration [-socket PATH] [-timeout SECONDS] attach NAME DEVICE
//	nbd-integration [...] detach NAME
//	nbd-integration [...] cleanup NAME...       names to be kept
//	nbd-integration [...] reload | exports | sessions | wait-free NAME
//
// It ends as nbdctl does: 0 done, 1 refused and nothing changed, 2 done in part or not known, 3 no server, 64 usage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"nbd-integration/nbdserver"
)

func main() {
	log.SetFlags(0)
	socket := flag.String("socket", nbdserver.DefaultSocket, "the server's control socket")
	seconds := flag.Float64("timeout", 30, "how long the server may take for one call")
	wait := flag.Float64("wait", 10, "how much longer what hangs is waited for")
	flag.Usage = func() { usage("nbd-integration [OPTIONS] WORD [ARGUMENTS]") }
	flag.Parse()
	client := nbdserver.New(*socket)
	client.Timeout = duration(*seconds)
	ctx, cancel := context.WithTimeout(context.Background(), client.Timeout+duration(*wait))
	defer cancel()
	err := run(ctx, client, flag.Args())
	if err != nil {
		log.Print(err)
	}
	os.Exit(code(err))
}

func duration(seconds float64) time.Duration {
	return time.Duration(seconds * float64(time.Second))
}

func run(ctx context.Context, client *nbdserver.Client, args []string) error {
	word, names := "", []string{}
	if len(args) > 0 {
		word, names = args[0], args[1:]
	}
	switch {
	case word == "attach" && len(names) == 2:
		return AfterAttach(ctx, client, names[0], names[1])
	case word == "detach" && len(names) == 1:
		return AfterDetach(ctx, client, names[0])
	case word == "wait-free" && len(names) == 1:
		return client.WaitFree(ctx, names[0])
	case word == "cleanup":
		keep := map[string]bool{}
		for _, name := range names {
			keep[name] = true
		}
		removed, err := Cleanup(ctx, client, keep)
		fmt.Println("removed:", strings.Join(removed, " "))
		return err
	case word == "reload" && len(names) == 0:
		reload, err := client.Reload(ctx)
		if err != nil {
			return err
		}
		fmt.Println(reload.Outcome, reload.Generation, reload.Reason)
		if reload.Outcome != "complete" {
			return &nbdserver.InUse{Export: "reload", Why: reload.Reason}
		}
		return nil
	case word == "exports" && len(names) == 0:
		exports, err := client.Exports(ctx)
		for _, export := range exports {
			fmt.Println(export.Name, export.State, export.Device, export.Sessions)
		}
		return err
	case word == "sessions" && len(names) == 0:
		sessions, err := client.Sessions(ctx)
		for _, session := range sessions {
			fmt.Println(session.ID, session.Peer, session.Export, session.Path)
		}
		return err
	}
	usage("attach NAME DEVICE, detach NAME, cleanup NAME..., wait-free NAME, reload, exports or sessions is wanted")
	return nil
}

func usage(words string) {
	fmt.Fprintln(os.Stderr, words)
	flag.PrintDefaults()
	os.Exit(64)
}

func code(err error) int {
	var refused *nbdserver.Refused
	var noServer *nbdserver.NoServer
	switch {
	case err == nil:
		return 0
	case errors.As(err, &refused), errors.Is(err, ErrNothingToKeep):
		return 1
	case errors.As(err, &noServer):
		return 3
	default:
		return 2
	}
}
