package main

import (
	"io"
	"net"
	"net/http"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// A codec for messages that are bytes.
type bytesCodec struct{}

func (bytesCodec) Marshal(message any) ([]byte, error) { return *message.(*[]byte), nil }
func (bytesCodec) Unmarshal(data []byte, message any) error {
	*message.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (bytesCodec) Name() string { return "bytes" }

func serveGRPC(listener net.Listener) error {
	server := grpc.NewServer(grpc.ForceServerCodec(bytesCodec{}), grpc.UnknownServiceHandler(echo))
	return server.Serve(listener)
}

// Sends each message back. A method whose name ends in `Fail` ends with an error.
func echo(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	head, _ := metadata.FromIncomingContext(stream.Context())
	seen := seen{Protocol: "gRPC", Target: method}
	header := http.Header{}
	for name, values := range head {
		if name == ":authority" {
			seen.Authority = strings.Join(values, ", ")
		} else {
			header[name] = values
		}
	}
	seen.User, seen.Fields = strings.Join(head.Get("x-user"), ", "), fields(header)
	var got []byte
	defer func() {
		seen.Body = summary(got)
		seen.write()
	}()
	stream.SetTrailer(metadata.Pairs("x-end", "yes"))
	for {
		var message []byte
		if err := stream.RecvMsg(&message); err == io.EOF {
			break
		} else if err != nil {
			seen.Error = status.Convert(err).Message()
			return err
		}
		got = append(got, message...)
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
	}
	if strings.HasSuffix(method, "Fail") {
		return status.Error(codes.DataLoss, "lost: 100 % of it")
	}
	return nil
}
