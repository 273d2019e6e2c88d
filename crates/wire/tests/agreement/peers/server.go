// Go's net/http server: reports each request in the header `Saw` of its response. Exits when its
// standard input is closed.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
)

func answer(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	saw := fmt.Sprintf("%s %s %x.", r.Method, r.RequestURI, body)
	w.Header().Set("Saw", fmt.Sprintf("%x", saw))
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	server := http.Server{Handler: http.HandlerFunc(answer), DisableGeneralOptionsHandler: true}
	log.Fatal(server.Serve(listener))
}
