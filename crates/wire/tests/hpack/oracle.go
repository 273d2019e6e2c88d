// Go's HPACK, line by line. Decoding: "new", "limit N" and "block HEX" print what a decoder finds.
// Encoding: "size N", "limit N" and "fields NAME:VALUE:SENSITIVE ..." print the block of an encoder.
package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"
)

func unhex(text string) []byte {
	decoded, err := hex.DecodeString(text)
	if err != nil {
		log.Fatal(err)
	}
	return decoded
}

func number(text string) uint32 {
	value, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		log.Fatal(err)
	}
	return uint32(value)
}

func main() {
	var decoder *hpack.Decoder
	var out bytes.Buffer
	encoder := hpack.NewEncoder(&out)
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		command, rest, _ := strings.Cut(lines.Text(), " ")
		switch command {
		case "new":
			decoder = hpack.NewDecoder(4096, nil)
			out.Reset()
			encoder = hpack.NewEncoder(&out)
		case "limit":
			decoder.SetAllowedMaxDynamicTableSize(number(rest))
			encoder.SetMaxDynamicTableSizeLimit(number(rest))
		case "size":
			encoder.SetMaxDynamicTableSize(number(rest))
		case "block":
			fields, err := decoder.DecodeFull(unhex(rest))
			if err != nil {
				fmt.Println("error")
				continue
			}
			var found []string
			for _, field := range fields {
				found = append(found, fmt.Sprintf("%x:%x:%t", field.Name, field.Value, field.Sensitive))
			}
			fmt.Println("fields " + strings.Join(found, " "))
		case "fields":
			out.Reset()
			for _, field := range strings.Fields(rest) {
				parts := strings.Split(field, ":")
				field := hpack.HeaderField{
					Name:      string(unhex(parts[0])),
					Value:     string(unhex(parts[1])),
					Sensitive: parts[2] == "true",
				}
				if err := encoder.WriteField(field); err != nil {
					log.Fatal(err)
				}
			}
			fmt.Printf("block %x\n", out.Bytes())
		default:
			log.Fatal(command)
		}
	}
}
