// Package client tests the browser client in real Chromium, behind real nginx, before
// the built program and a real MariaDB.
//
// The tests are behind the build tag e2e, like those of the folder above:
//
//	go test -tags e2e -v ./e2e/client
//
// -v prints how long each transport takes to its first event.
package client
