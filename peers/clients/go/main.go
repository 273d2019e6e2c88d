// Go's net/http and grpc as clients. Each line of standard input is a job in JSON, each line of
// standard output its record. Jobs run side by side, and each has connections of its own.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	"interceptor/peers/message"
)

const maximumTime = 6 * time.Second

type job struct {
	ID        int    `json:"id"`
	Protocol  string `json:"protocol"`
	Host      string `json:"host"`
	Port      int    `json:"port"`
	Calls     []call `json:"calls"`
	Parallel  bool   `json:"parallel"`
	Target    string `json:"target"`
	Authority string `json:"authority"`
}

type call struct {
	Method        string      `json:"method"`
	Path          string      `json:"path"`
	Headers       [][2]string `json:"headers"`
	Body          string      `json:"body"`
	Times         int         `json:"times"`
	Messages      int         `json:"messages"`
	WithoutLength bool        `json:"without_length"`
}

// What a client saw of one call.
type answer struct {
	Status   string   `json:"status"`
	Fields   []string `json:"fields"`
	Body     string   `json:"body"`
	Trailers []string `json:"trailers"`
	Error    string   `json:"error"`
}

func main() {
	var output sync.Mutex
	var running sync.WaitGroup
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var job job
		if err := json.Unmarshal(lines.Bytes(), &job); err != nil {
			panic(err)
		}
		running.Add(1)
		go func() {
			defer running.Done()
			record, _ := json.Marshal(map[string]any{"id": job.ID, "answers": job.run()})
			output.Lock()
			fmt.Printf("%s\n", record)
			output.Unlock()
		}()
	}
	running.Wait()
}

func (job job) run() []answer {
	perform, end := job.http()
	if job.Protocol == "grpc" {
		perform, end = job.grpc()
	}
	defer end()
	answers := make([]answer, len(job.Calls))
	var running sync.WaitGroup
	for i, call := range job.Calls {
		running.Add(1)
		one := func() {
			defer running.Done()
			ctx, cancel := context.WithTimeout(context.Background(), maximumTime)
			defer cancel()
			answers[i] = perform(ctx, call)
		}
		if job.Parallel {
			go one()
		} else {
			one()
		}
	}
	running.Wait()
	return answers
}

// Returns what makes a call by HTTP, and what ends the connections.
func (job job) http() (func(context.Context, call) answer, func()) {
	transport := &http.Transport{DisableCompression: true, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(job.Protocol == "http1")
	transport.Protocols.SetUnencryptedHTTP2(job.Protocol == "h2")
	client := &http.Client{Transport: transport}
	host := fmt.Sprintf("%s:%d", job.Host, job.Port)
	return func(ctx context.Context, call call) answer {
		var body io.Reader
		if call.Body != "" {
			body = strings.NewReader(strings.Repeat(call.Body, call.Times))
		}
		if call.WithoutLength {
			body = io.MultiReader(body)
		}
		request, err := http.NewRequestWithContext(ctx, call.Method, "http://"+host, body)
		if err != nil {
			return answer{Error: err.Error()}
		}
		// As it is: a parsed path would be encoded.
		request.URL = &url.URL{Scheme: "http", Host: host, Opaque: call.Path}
		for _, header := range call.Headers {
			if strings.EqualFold(header[0], "host") {
				request.Host = header[1]
			} else {
				request.Header[header[0]] = append(request.Header[header[0]], header[1])
			}
		}
		response, err := client.Do(request)
		if err != nil {
			return answer{Error: reason(err)}
		}
		defer response.Body.Close()
		content, err := io.ReadAll(response.Body)
		result := answer{
			Status:   response.Proto + " " + response.Status,
			Fields:   sorted(response.Header),
			Body:     message.Summary(content),
			Trailers: sorted(response.Trailer),
		}
		if err != nil {
			result.Error = reason(err)
		}
		return result
	}, transport.CloseIdleConnections
}

// The error without the URL of the request.
func reason(err error) string {
	var inner *url.Error
	if errors.As(err, &inner) {
		err = inner.Err
	}
	return err.Error()
}

func sorted(header http.Header) []string {
	fields := []string{}
	for name, values := range header {
		for _, value := range values {
			fields = append(fields, strings.ToLower(name)+": "+value)
		}
	}
	sort.Strings(fields)
	return fields
}
