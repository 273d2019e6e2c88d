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

	"interceptor/peers/message"
)

func serveGRPC(listener net.Listener) error {
	server := grpc.NewServer(grpc.ForceServerCodec(message.Codec{}), grpc.UnknownServiceHandler(echo))
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
	seen.User, seen.Fields = strings.Join(head.Get("x-user"), ", "), message.Fields(header)
	var got []byte
	defer func() {
		seen.Body = message.Summary(got)
		seen.write()
	}()
	stream.SetTrailer(metadata.Pairs("x-end", "yes"))
	for {
		var part []byte
		if err := stream.RecvMsg(&part); err == io.EOF {
			break
		} else if err != nil {
			seen.Error = status.Convert(err).Message()
			return err
		}
		got = append(got, part...)
		if err := stream.SendMsg(&part); err != nil {
			return err
		}
	}
	if strings.HasSuffix(method, "Fail") {
		return status.Error(codes.DataLoss, "lost: 100 % of it")
	}
	return nil
}
