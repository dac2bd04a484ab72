// A program that has the interpreter in it: it runs the script that it is given.
#include <Python.h>

int main(int argc, char **argv)
{
    return Py_BytesMain(argc, argv);
}
