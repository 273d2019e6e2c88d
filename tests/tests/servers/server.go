// Go's net/http: files, an echo, and a response in chunks.
package main

import (
	"io"
	"net/http"
	"os"
)

func main() {
	root := os.Getenv("ROOT")
	http.Handle("/", http.FileServer(http.Dir(root)))
	http.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			w.Write(body)
		}
	})
	http.HandleFunc("/stream", func(w http.ResponseWriter, _ *http.Request) {
		text, _ := os.ReadFile(root + "/hello")
		for len(text) > 0 {
			part := text[:min(7, len(text))]
			w.Write(part)
			w.(http.Flusher).Flush()
			text = text[len(part):]
		}
	})
	panic(http.ListenAndServe(":8080", nil))
}
