// Package message has what the Go clients and servers share: messages as bytes, and how a record
// shows them.
package message

import (
	"crypto/sha256"
	"fmt"
	"sort"
)

// Codec is gRPC's codec for messages that are bytes.
type Codec struct{}

func (Codec) Marshal(message any) ([]byte, error) { return *message.(*[]byte), nil }
func (Codec) Unmarshal(data []byte, message any) error {
	*message.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (Codec) Name() string { return "bytes" }

// Fields shows header fields or metadata as lines, sorted.
func Fields(header map[string][]string) []string {
	fields := []string{}
	for name, values := range header {
		for _, value := range values {
			fields = append(fields, name+": "+value)
		}
	}
	sort.Strings(fields)
	return fields
}

// Summary shows a short body as it is, and a long one by its length and checksum.
func Summary(body []byte) string {
	if len(body) <= 200 {
		return string(body)
	}
	return fmt.Sprintf("%d bytes, SHA-256 %x", len(body), sha256.Sum256(body))
}
