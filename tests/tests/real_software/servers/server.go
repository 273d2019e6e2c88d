// Answers `app <client> <server>`.
package main

import (
	"fmt"
	"net/http"
)

func main() {
	answer := func(w http.ResponseWriter, r *http.Request) {
		body := fmt.Sprintf("app %s %s\n", r.RemoteAddr, r.Context().Value(http.LocalAddrContextKey))
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		fmt.Fprint(w, body)
	}
	panic(http.ListenAndServe(":8080", http.HandlerFunc(answer)))
}
