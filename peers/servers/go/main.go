// Go's net/http and grpc as servers: `server KIND PORT RECORD`. The file RECORD gets a line of JSON
// for each request, when the server has done with it.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c"

	"interceptor/peers/message"
)

// What the server saw of one request.
type seen struct {
	Protocol  string   `json:"protocol"`
	Method    string   `json:"method"`
	Target    string   `json:"target"`
	Authority string   `json:"authority"`
	User      string   `json:"user"`
	Fields    []string `json:"fields"`
	Body      string   `json:"body"`
	Trailers  []string `json:"trailers"`
	Error     string   `json:"error"`
}

var (
	record *os.File
	mutex  sync.Mutex
)

func (seen seen) write() {
	line, _ := json.Marshal(seen)
	mutex.Lock()
	defer mutex.Unlock()
	fmt.Fprintf(record, "%s\n", line)
}

func main() {
	kind, port := os.Args[1], os.Args[2]
	var err error
	if record, err = os.OpenFile(os.Args[3], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644); err != nil {
		panic(err)
	}
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		panic(err)
	}
	if kind == "grpc" {
		panic(serveGRPC(listener))
	}
	// Both ways to HTTP/2 without TLS: the preface, and an upgrade from HTTP/1.
	panic(http.Serve(listener, h2c.NewHandler(http.HandlerFunc(serve), &http2.Server{})))
}

// Behaves as the path says, by default as an echo of the request's description.
func serve(writer http.ResponseWriter, request *http.Request) {
	seen := seen{
		Protocol:  request.Proto,
		Method:    request.Method,
		Target:    request.RequestURI,
		Authority: request.Host,
		User:      request.Header.Get("x-user"),
		Fields:    message.Fields(request.Header),
	}
	// Also when the handler is ended early.
	defer func() { seen.write() }()
	if strings.HasPrefix(request.URL.Path, "/early") {
		http.Error(writer, "too large", http.StatusRequestEntityTooLarge)
		return
	}
	body, err := io.ReadAll(request.Body)
	seen.Body, seen.Trailers = message.Summary(body), message.Fields(request.Trailer)
	if err != nil {
		seen.Error = err.Error()
	}
	text := fmt.Sprintf("%s %d\n", request.Method, len(body))
	if strings.HasPrefix(request.URL.Path, "/close") {
		writer.Header().Set("Connection", "close")
	}
	if strings.HasPrefix(request.URL.Path, "/chunks") {
		writer.Header().Set("Trailer", "X-End")
		for _, part := range strings.SplitAfter(text, " ") {
			io.WriteString(writer, part)
			writer.(http.Flusher).Flush()
		}
		writer.Header().Set("X-End", "yes")
		return
	}
	io.WriteString(writer, text)
}
