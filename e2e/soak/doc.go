// Package soak has the test that lives through a bad day: `make soak`. Thousands of
// clients come, go and crash on every transport while a real WordPress is written to and
// its database, PHP, nginx and Holdline itself are killed. In the end nobody may have
// missed a row or been told one twice, every message that was accepted is in the table
// once, and the memory is what it was.
//
// The judges know Holdline from outside only: own readers of what comes over the wire,
// coder's WebSocket client, SQL, /proc and /metrics.
//
// The test has the build tag e2e and needs root, for network namespaces, and Debian's
// libfaketime, for the clocks of MariaDB and PHP (make soak installs it). Holdline's own
// clock is not moved: Go asks the kernel without the C library.
package soak
