// Go's net/http client: requests each path `/0`, `/1`, … once, and prints what it finds in each
// response.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func ask(port, method string, number int) string {
	request, err := http.NewRequest(method, fmt.Sprintf("http://127.0.0.1:%s/%d", port, number), nil)
	if err != nil {
		return "-"
	}
	transport := http.Transport{DisableCompression: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return "-"
	}
	if response.StatusCode == http.StatusSwitchingProtocols {
		return "-"
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "-"
	}
	return fmt.Sprintf("%d %x.", response.StatusCode, body)
}

func main() {
	for number, method := range os.Args[2:] {
		fmt.Println(number, ask(os.Args[1], method, number))
	}
}
