package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// The parts of CycloneDX 1.5 (https://cyclonedx.org/docs/1.5/json/) that are used.
type (
	bom struct {
		Format       string       `json:"bomFormat"`
		Spec         string       `json:"specVersion"`
		Version      int          `json:"version"`
		Metadata     metadata     `json:"metadata"`
		Components   []component  `json:"components"`
		Dependencies []dependency `json:"dependencies"`
	}
	metadata struct {
		Timestamp string    `json:"timestamp,omitempty"` // of the commit: the same program has the same bill
		Component component `json:"component"`
	}
	component struct {
		Type       string     `json:"type"`
		Ref        string     `json:"bom-ref"`
		Name       string     `json:"name"`
		Version    string     `json:"version"`
		PURL       string     `json:"purl"`
		Hashes     []hash     `json:"hashes,omitempty"`
		Licences   []licence  `json:"licenses"`
		Properties []property `json:"properties,omitempty"`
	}
	hash struct {
		Algorithm string `json:"alg"`
		Content   string `json:"content"`
	}
	licence struct {
		License struct {
			ID string `json:"id"`
		} `json:"license"`
	}
	property struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	dependency struct {
		Ref       string   `json:"ref"`
		DependsOn []string `json:"dependsOn,omitempty"`
	}
)

// writeBOM writes which modules are in the program, as CycloneDX.
func writeBOM(out io.Writer, program string, info *buildinfo.BuildInfo, modules []module) error {
	content, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(content)
	main := newComponent("application", info.Main.Path, info.Main.Version, []string{"MIT"})
	main.Hashes = []hash{{"SHA-256", hex.EncodeToString(sum[:])}}
	b := bom{Format: "CycloneDX", Spec: "1.5", Version: 1, Components: []component{}}
	for _, s := range info.Settings {
		// Such as GOOS and vcs.revision: from what and for what it was built.
		main.Properties = append(main.Properties, property{"go:build:" + s.Key, s.Value})
		if s.Key == "vcs.time" {
			b.Metadata.Timestamp = s.Value
		}
	}
	all := dependency{Ref: main.Ref}
	for _, m := range modules {
		c := newComponent("library", m.path, m.version, m.licences)
		if m.sum != "" {
			if c.Hashes, err = moduleHash(m.sum); err != nil {
				return fmt.Errorf("%s: %w", m.path, err)
			}
		}
		b.Components = append(b.Components, c)
		all.DependsOn = append(all.DependsOn, c.Ref)
	}
	b.Metadata.Component = main
	b.Dependencies = []dependency{all}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(b)
}

func newComponent(kind, path, version string, ids []string) component {
	// https://github.com/package-url/purl-spec, golang: lower case; a plus sign is
	// written as %2B.
	purl := "pkg:golang/" + strings.ToLower(path) + "@" + strings.ReplaceAll(version, "+", "%2B")
	c := component{Type: kind, Ref: purl, Name: path, Version: version, PURL: purl}
	for _, id := range ids {
		var l licence
		l.License.ID = id
		c.Licences = append(c.Licences, l)
	}
	return c
}

// moduleHash is go.sum's h1, which is the SHA-256 of a list of the module's files
// (golang.org/x/mod/sumdb/dirhash), the way cyclonedx-gomod writes it.
func moduleHash(sum string) ([]hash, error) {
	text, ok := strings.CutPrefix(sum, "h1:")
	raw, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(raw) != sha256.Size {
		return nil, fmt.Errorf("%q is no h1 hash", sum)
	}
	return []hash{{"SHA-256", hex.EncodeToString(raw)}}, nil
}
