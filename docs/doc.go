// Package docs holds what people read. Its tests run every command, load every
// configuration, open every page and follow every link of it.
package docs
