// Package e2e tests the built program with clients and proxies that other people
// wrote: Chromium, the npm packages eventsource, event-source-polyfill,
// @microsoft/fetch-event-source and reconnecting-eventsource, the Go client of
// r3labs, nginx and Apache.
//
// The tests need all of these, so they are behind the build tag e2e:
// .ci/browser installs the packages of package.json and runs them.
package e2e
