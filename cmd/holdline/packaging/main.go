// Command packaging writes what belongs beside the program in a package: its bill
// of materials, the licences of what it is linked from, and its manual page. All
// of it is read from the built program, so none can be out of step.
//
// .ci/dist runs it in the folder of the module.
package main

import (
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "packaging: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	if len(args) != 2 {
		return errors.New("usage: packaging sbom|notices|man PROGRAM")
	}
	what, program := args[0], args[1]
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return err
	}
	if what == "man" {
		return writeMan(out, program, info)
	}
	modules, err := linked(info)
	if err != nil {
		return err
	}
	switch what {
	case "sbom":
		return writeBOM(out, program, info, modules)
	case "notices":
		return writeNotices(out, modules)
	}
	return fmt.Errorf("there is no %q", what)
}
