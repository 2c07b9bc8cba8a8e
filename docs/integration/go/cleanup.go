package main

import (
	"context"
	"errors"
	"log"

	"nbd-integration/nbdserver"
)

// ErrNothingToKeep: a database that could not be read must not remove everything.
var ErrNothingToKeep = errors.New("nothing is to be kept: this would remove all exports")

// Cleanup removes every export of includedir that is not in keep, and reloads once. It returns what it removed. Exports of
// the main file and of the command line are left alone.
//
// An empty keep is refused.
func Cleanup(ctx context.Context, client *nbdserver.Client, keep map[string]bool) ([]string, error) {
	if len(keep) == 0 {
		return nil, ErrNothingToKeep
	}
	main, err := client.MainFile(ctx)
	if err != nil {
		return nil, err
	}
	exports, err := client.Exports(ctx)
	if err != nil {
		return nil, err
	}
	removed := []string{}
	for _, export := range exports {
		if !export.Configured || export.File == "" || export.File == main || keep[export.Name] {
			continue
		}
		if export.Sessions > 0 {
			log.Printf("%s: %d clients will be cut off", export.Name, export.Sessions)
		}
		switch err := client.DeleteFile(ctx, export.Name); {
		case err == nil || nbdserver.IsNotFound(err):
			removed = append(removed, export.Name)
		case errors.As(err, new(*nbdserver.Refused)):
			// Its file describes others too, or is being written: the next run sees it again.
			log.Printf("%s: left: %v", export.Name, err)
		default:
			return removed, err
		}
	}
	if len(removed) == 0 {
		return removed, nil
	}
	reload, err := client.Reload(ctx)
	if err != nil {
		return removed, err
	}
	for _, name := range removed {
		if err := settle(ctx, client, name, reload); err != nil {
			return removed, err
		}
	}
	return removed, nil
}
