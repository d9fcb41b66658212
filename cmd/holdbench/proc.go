package main

// memory is what a server's processes occupy, in bytes.
type memory struct {
	rss  int64 // VmRSS summed: counts pages that nginx's workers share once for each
	pss  int64 // proportional set size: shared pages are counted once
	anon int64 // anonymous part of pss: without the mapped program itself
}

// kernel is what the whole machine's kernel keeps, in bytes. Both ends of each
// connection are on this machine, so a growth over N connections is that of 2 N
// sockets.
type kernel struct {
	slab    int64 // Slab of /proc/meminfo: socket structs, inodes, epoll items
	buffers int64 // "TCP: mem" of /proc/net/sockstat: bytes waiting in sockets
}
