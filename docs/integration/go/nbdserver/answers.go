package nbdserver

import (
	"fmt"
	"strings"
)

// Export is one export, configured or still in use. See GET /v1/openapi.json for all of its fields.
type Export struct {
	Name       string            `json:"name"`
	State      string            `json:"state"` // serving, unavailable, kept_back, fencing, poisoned, placeholder
	Reason     string            `json:"reason"`
	Configured bool              `json:"configured"` // false: it is gone, and a request to its disk hangs
	File       string            `json:"file"`
	Path       string            `json:"path"`
	Device     string            `json:"device"` // behind links
	Identity   string            `json:"identity"`
	Size       uint64            `json:"size"`
	Open       bool              `json:"open"`
	Sessions   uint64            `json:"sessions"`
	Hanging    []Hanging         `json:"hanging"`
	Settings   map[string]string `json:"settings"` // those that are not the default
}

// Hanging is a request that does not come back. The disk at Path is not free.
type Hanging struct {
	Export string `json:"export"`
	Path   string `json:"path"`
	Peer   string `json:"peer"`
	AgeMS  uint64 `json:"age_ms"`
}

func (h Hanging) String() string {
	return fmt.Sprintf("a request of %s to %s (%s) has been hanging for %d ms", h.Peer, h.Path, h.Export, h.AgeMS)
}

// Session is one client on one export.
type Session struct {
	ID       uint64 `json:"id"`
	Peer     string `json:"peer"`
	Export   string `json:"export"`
	Path     string `json:"path"`
	Since    string `json:"since"`
	ReadOnly bool   `json:"read_only"`
	InFlight uint64 `json:"in_flight"`
}

// Problem is something in a file or a request that cannot be followed.
type Problem struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Key    string `json:"key"`
	Reason string `json:"reason"`
}

func (p Problem) String() string {
	words := []string{}
	if p.File != "" {
		words = append(words, fmt.Sprintf("%s:%d", p.File, p.Line))
	}
	if p.Key != "" {
		words = append(words, p.Key)
	}
	return strings.Join(append(words, p.Reason), ": ")
}

// Reload is what a reload did. Its fence is done, or what hangs is named.
type Reload struct {
	Outcome    string    `json:"outcome"` // complete, incomplete, refused
	Reason     string    `json:"reason"`
	Generation uint64    `json:"generation"`
	Hanging    []Hanging `json:"hanging"`
	Fenced     uint64    `json:"fenced"`
	Plan       struct {
		KeptBack []struct {
			Exports []string `json:"exports"`
			Problem Problem  `json:"problem"`
		} `json:"kept_back"`
		Unavailable []struct {
			Export string `json:"export"`
			Path   string `json:"path"`
			Reason string `json:"reason"`
		} `json:"unavailable"`
		Refused []Problem `json:"refused"`
	} `json:"plan"`
}

// Concerns says why a reload is not what was wanted for this export. A reload is incomplete for any export's sake:
// what was kept back or hangs elsewhere is somebody else's concern.
func (r *Reload) Concerns(export string) string {
	for _, kept := range r.Plan.KeptBack {
		for _, name := range kept.Exports {
			if name == export {
				return "kept back: " + kept.Problem.String()
			}
		}
	}
	for _, hanging := range r.Hanging {
		if hanging.Export == export {
			return hanging.String()
		}
	}
	return ""
}

// Refused: the server said no, and nothing was changed. (HTTP 400 to 422.)
type Refused struct {
	Status   int
	Detail   string
	Problems []Problem
}

func (e *Refused) Error() string {
	return fmt.Sprintf("refused (HTTP %d), nothing was changed: %s", e.Status, e.Detail)
}

// NoServer: nobody could be asked, and nothing was changed.
type NoServer struct{ Err error }

func (e *NoServer) Error() string { return "no server: " + e.Err.Error() }
func (e *NoServer) Unwrap() error { return e.Err }

// Unknown: it was asked for, and how it ended is not known. It may still happen, so ask again; all calls may be made any
// number of times.
type Unknown struct{ Err error }

func (e *Unknown) Error() string { return "whether it was done is not known: " + e.Err.Error() }
func (e *Unknown) Unwrap() error { return e.Err }

// InUse: the files are as wanted, and the disk is not free, or not served yet.
type InUse struct {
	Export string
	Why    string
}

func (e *InUse) Error() string { return e.Export + ": " + e.Why }
