//go:build tools

// Package tools names what is built here: h2spec, with the versions of everything that it needs.
package tools

import _ "github.com/summerwind/h2spec/cmd/h2spec"
