// Package client tests the browser client in real Chromium, behind real nginx, before
// the built program and a real MariaDB. Where something is sent, a real WordPress is
// behind the program, which stores it.
//
// The tests are behind the build tag e2e, like those of the folder above:
//
//	go test -tags e2e -v ./e2e/client
//
// -v prints how long each transport takes to its first event, and a message from a click
// to the other browser's screen; -client.away=30s takes the network away for as long.
package client
