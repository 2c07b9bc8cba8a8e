// Package nbdserver asks an nbd-server on its control socket, and changes what it serves with an answer. It needs nothing
// but the standard library.
package nbdserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// DefaultSocket is where the server listens where its configuration says nothing.
const DefaultSocket = "/run/nbd-server/control.sock"

// How much longer we wait than we allow the server: an answer that names what hangs is worth it.
const longer = 2 * time.Second

// Between two looks at what does not end at once.
const between = 200 * time.Millisecond

// Client is one server. It may be used by any number of goroutines.
type Client struct {
	// Timeout is what the server may take for one call; its fence included. At most ten minutes.
	Timeout time.Duration
	http    http.Client
}

// New is a client of the server at this socket. Nobody is asked yet.
func New(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", socket)
	}
	// A connection for each call: a server that was restarted is no reason for an error.
	transport := &http.Transport{DialContext: dial, DisableKeepAlives: true}
	return &Client{Timeout: 30 * time.Second, http: http.Client{Transport: transport}}
}

// PutExport writes the export's file in includedir, as a whole or not at all, and reloads. When it returns without an
// error, the very next client gets the new disk and the old one can be detached.
//
// Keys are those of the configuration. exportname is a template: write %% for a percent sign.
func (c *Client) PutExport(ctx context.Context, name string, settings map[string]string) (*Reload, error) {
	return c.change(ctx, http.MethodPut, exportPath(name), settings)
}

// RemoveExport deletes the export's file and reloads. When it returns without an error, its disk can be detached. An
// export that is not there is a Refused with status 404.
func (c *Client) RemoveExport(ctx context.Context, name string) (*Reload, error) {
	return c.change(ctx, http.MethodDelete, exportPath(name), nil)
}

// DeleteFile deletes the export's file only. A later Reload follows it.
func (c *Client) DeleteFile(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, exportPath(name)+"?apply=false", nil, nil)
}

// Reload follows the configuration, and waits for the fence.
func (c *Client) Reload(ctx context.Context) (*Reload, error) {
	return c.change(ctx, http.MethodPost, "/v1/reload", nil)
}

// Exports are all exports in the order of the configuration, and behind them those that are gone and hang.
func (c *Client) Exports(ctx context.Context) ([]Export, error) {
	var exports []Export
	return exports, c.call(ctx, http.MethodGet, "/v1/exports", nil, &exports)
}

// Export is one export; nil where there is none of this name.
func (c *Client) Export(ctx context.Context, name string) (*Export, error) {
	var export Export
	err := c.call(ctx, http.MethodGet, exportPath(name), nil, &export)
	if IsNotFound(err) {
		return nil, nil
	}
	return &export, err
}

// Sessions are all clients, in the order in which they came.
func (c *Client) Sessions(ctx context.Context) ([]Session, error) {
	var sessions []Session
	return sessions, c.call(ctx, http.MethodGet, "/v1/sessions", nil, &sessions)
}

// MainFile is the server's main configuration file. What is described there is not in includedir.
func (c *Client) MainFile(ctx context.Context) (string, error) {
	var status struct {
		Configuration string `json:"configuration"`
	}
	return status.Configuration, c.call(ctx, http.MethodGet, "/v1/status", nil, &status)
}

// WaitFree waits until nothing of the past hangs on this export: then the disk that it had can be detached, and the disk
// that it has is served. Ends with InUse when the context does.
func (c *Client) WaitFree(ctx context.Context, name string) error {
	for {
		export, err := c.Export(ctx, name)
		if err == nil && (export == nil || (len(export.Hanging) == 0 && export.State != "fencing")) {
			return nil
		}
		why := "not known"
		if err != nil {
			var refused *Refused
			if errors.As(err, &refused) {
				return err
			}
			why = err.Error()
		} else if len(export.Hanging) > 0 {
			why = export.Hanging[0].String()
		} else if export.Reason != "" {
			why = export.Reason
		}
		select {
		case <-ctx.Done():
			return &InUse{name, why}
		case <-time.After(between):
		}
	}
}

// IsNotFound: there is no export of this name.
func IsNotFound(err error) bool {
	var refused *Refused
	return errors.As(err, &refused) && refused.Status == http.StatusNotFound
}

func exportPath(name string) string {
	return "/v1/exports/" + url.PathEscape(name)
}

// A change that is answered with a reload. One that was refused is a Refused; one that is incomplete is no error here,
// because that may be for another export's sake.
func (c *Client) change(ctx context.Context, method, path string, body interface{}) (*Reload, error) {
	var reload Reload
	path += "?timeout_ms=" + strconv.FormatInt(c.Timeout.Milliseconds(), 10)
	if err := c.call(ctx, method, path, body, &reload); err != nil {
		return nil, err
	}
	return &reload, nil
}

// One call, again while the server says that it is busy and has not begun.
func (c *Client) call(ctx context.Context, method, path string, body, answer interface{}) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout+longer)
	defer cancel()
	for {
		again, err := c.once(ctx, method, path, body, answer)
		if again == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(again):
		}
	}
}

func (c *Client) once(ctx context.Context, method, path string, body, answer interface{}) (time.Duration, error) {
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return 0, err
		}
		sent = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, sent)
	if err != nil {
		return 0, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return 0, &NoServer{err}
		}
		return 0, unknown(method, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, unknown(method, err)
	}
	return judge(method, response, text, answer)
}

func judge(method string, response *http.Response, text []byte, answer interface{}) (time.Duration, error) {
	status := response.StatusCode
	switch {
	case status < 300: // 207, done in part, is in the answer
		if answer == nil || len(text) == 0 {
			return 0, nil
		}
		if err := json.Unmarshal(text, answer); err != nil {
			return 0, unknown(method, err)
		}
		return 0, nil
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
		if err != nil || seconds < 1 {
			seconds = 1
		}
		return time.Duration(seconds) * time.Second, &Refused{Status: status, Detail: "the server is busy"}
	case status == http.StatusUnprocessableEntity && response.Header.Get("Content-Type") == "application/json":
		// A reload that was refused tells what for.
		var reload Reload
		if err := json.Unmarshal(text, &reload); err != nil {
			return 0, unknown(method, err)
		}
		return 0, &Refused{Status: status, Detail: reload.Reason, Problems: reload.Plan.Refused}
	}
	var problem struct {
		Detail   string    `json:"detail"`
		Problems []Problem `json:"problems"`
	}
	if err := json.Unmarshal(text, &problem); err != nil || problem.Detail == "" {
		problem.Detail = response.Status
	}
	if status >= 500 {
		return 0, unknown(method, errors.New(problem.Detail))
	}
	return 0, &Refused{Status: status, Detail: problem.Detail, Problems: problem.Problems}
}

// A question that was not answered has changed nothing.
func unknown(method string, err error) error {
	if method == http.MethodGet {
		return &NoServer{fmt.Errorf("no answer: %w", err)}
	}
	return &Unknown{err}
}
