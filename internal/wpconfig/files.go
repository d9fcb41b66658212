package wpconfig

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// files reads the machine's files, or those of an fs.FS rooted at "/". Paths use
// slashes on every system, as PHP accepts them everywhere.
type files struct{ fsys fs.FS }

var driveLetter = regexp.MustCompile(`^[A-Za-z]:/`)

func absolute(p string) bool { return strings.HasPrefix(p, "/") || driveLetter.MatchString(p) }

func (f files) open(name string) (fs.File, error) {
	if f.fsys == nil {
		return os.Open(filepath.FromSlash(name))
	}
	return f.fsys.Open(fsName(name))
}

func (f files) stat(name string) (fs.FileInfo, error) {
	if strings.ContainsRune(name, 0) {
		return nil, fs.ErrNotExist
	}
	if f.fsys == nil {
		return os.Stat(filepath.FromSlash(name))
	}
	return fs.Stat(f.fsys, fsName(name))
}

func fsName(name string) string {
	if name = strings.TrimPrefix(path.Clean(name), "/"); name != "" {
		return name
	}
	return "."
}

// real resolves symbolic links, because PHP's __DIR__ does.
func (f files) real(name string) (string, error) {
	if f.fsys != nil {
		return path.Clean(name), nil
	}
	resolved, err := filepath.EvalSymlinks(filepath.FromSlash(name))
	return filepath.ToSlash(resolved), err
}

// read returns a regular file of at most maxFileSize bytes.
func (f files) read(name string) ([]byte, error) {
	info, err := f.stat(name)
	if err != nil {
		return nil, err
	}
	// Opening a pipe or a device could block for ever.
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	file, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFileSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFileSize {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, maxFileSize)
	}
	return data, nil
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// within reports whether name lies in one of the folders.
func within(name string, folders []string) bool {
	for _, folder := range folders {
		if name == folder || strings.HasPrefix(name, strings.TrimSuffix(folder, "/")+"/") {
			return true
		}
	}
	return false
}
