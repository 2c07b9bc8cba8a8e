package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"path/filepath"
	"strings"

	"nbd-integration/nbdserver"
)

// AfterAttach is to be called when a volume has been attached and its device is there. When it returns nil, the export is
// served from this device, and the disk that it had before can be detached. It may be called any number of times.
//
// The context is how long the caller can wait at all; give it more than client.Timeout, so that what hangs is named.
func AfterAttach(ctx context.Context, client *nbdserver.Client, name, device string) error {
	settings, err := settingsFor(ctx, client, name, device)
	if err != nil {
		return err
	}
	reload, err := client.PutExport(ctx, name, settings)
	var unknown *nbdserver.Unknown
	if errors.As(err, &unknown) {
		// It may have been done. Once more is the way to know.
		reload, err = client.PutExport(ctx, name, settings)
	}
	if err != nil {
		return err
	}
	if err := settle(ctx, client, name, reload); err != nil {
		return err
	}
	return isServed(ctx, client, name, device)
}

// AfterDetach is to be called when a volume goes, best before it is detached: when it returns nil no byte of any client
// reaches the disk any more, nobody has it open, and its device name can be given to another volume. It may be called any
// number of times.
func AfterDetach(ctx context.Context, client *nbdserver.Client, name string) error {
	reload, err := client.RemoveExport(ctx, name)
	var unknown *nbdserver.Unknown
	if errors.As(err, &unknown) {
		reload, err = client.RemoveExport(ctx, name)
	}
	if nbdserver.IsNotFound(err) {
		// Somebody has removed it before us. What it had may be in use still.
		return client.WaitFree(ctx, name)
	}
	if err != nil {
		return err
	}
	return settle(ctx, client, name, reload)
}

// The keys as they have always been written, and whatever else somebody has set for this export.
func settingsFor(ctx context.Context, client *nbdserver.Client, name, device string) (map[string]string, error) {
	settings := map[string]string{"readonly": "false", "multifile": "false", "copyonwrite": "false"}
	export, err := client.Export(ctx, name)
	if err != nil {
		return nil, err
	}
	if export != nil {
		for key, value := range export.Settings {
			settings[key] = value
		}
	}
	settings["exportname"] = strings.ReplaceAll(device, "%", "%%")
	return settings, nil
}

// What is wrong with other exports is logged, what is wrong with ours is waited for.
func settle(ctx context.Context, client *nbdserver.Client, name string, reload *nbdserver.Reload) error {
	if reload.Outcome == "complete" {
		return nil
	}
	why := reload.Concerns(name)
	if why == "" {
		log.Printf("reload %d is %s for other exports' sake: %s", reload.Generation, reload.Outcome, reload.Reason)
		return nil
	}
	log.Printf("%s: %s", name, why)
	return client.WaitFree(ctx, name)
}

// The answer said so already. This is for a device that went away in between, and for the log.
func isServed(ctx context.Context, client *nbdserver.Client, name, device string) error {
	export, err := client.Export(ctx, name)
	if err != nil {
		return err
	}
	if export == nil {
		return &nbdserver.InUse{Export: name, Why: "somebody has removed it meanwhile"}
	}
	if export.State != "serving" {
		return &nbdserver.InUse{Export: name, Why: fmt.Sprintf("%s: %s", export.State, export.Reason)}
	}
	wanted, err := filepath.EvalSymlinks(device)
	if err != nil {
		return err
	}
	if export.Device != wanted {
		return &nbdserver.InUse{Export: name, Why: fmt.Sprintf("it is served from %s, not from %s", export.Device, wanted)}
	}
	log.Printf("%s: served from %s (%s, %d bytes)", name, export.Device, export.Identity, export.Size)
	return nil
}
