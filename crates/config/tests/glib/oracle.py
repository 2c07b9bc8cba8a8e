"""Reads key files with GLib itself and says what it made of each.

In: for each text its length (4 bytes, little-endian) and its bytes. Out: for each text lines and a zero byte: `refused`, or
`group .NAME` and below it `key .NAME .STRING BOOLEAN INTEGER INT64`. An error is `!`; in names and strings all but visible
ASCII is `\\xNN`. A key that stands twice has two lines, both with the values in force.
"""

import ctypes
import sys
from ctypes import CFUNCTYPE, POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_void_p

KEEP_COMMENTS, KEEP_TRANSLATIONS = 1, 2


class Error(ctypes.Structure):
    _fields_ = [("domain", c_uint32), ("code", c_int), ("message", c_char_p)]


def library():
    try:
        glib = ctypes.CDLL("libglib-2.0.so.0")
    except OSError:
        sys.exit(3)
    error = POINTER(POINTER(Error))
    shapes = {
        "g_key_file_new": (c_void_p,),
        "g_key_file_free": (None, c_void_p),
        "g_key_file_load_from_data": (c_int, c_void_p, c_char_p, c_size_t, c_int, error),
        "g_key_file_get_groups": (POINTER(c_char_p), c_void_p, c_void_p),
        "g_key_file_get_keys": (POINTER(c_char_p), c_void_p, c_char_p, c_void_p, error),
        "g_key_file_get_string": (c_void_p, c_void_p, c_char_p, c_char_p, error),
        "g_key_file_get_boolean": (c_int, c_void_p, c_char_p, c_char_p, error),
        "g_key_file_get_integer": (c_int, c_void_p, c_char_p, c_char_p, error),
        "g_key_file_get_int64": (c_int64, c_void_p, c_char_p, c_char_p, error),
        "g_strfreev": (None, POINTER(c_char_p)),
        "g_free": (None, c_void_p),
        "g_error_free": (None, POINTER(Error)),
    }
    for name, (result, *arguments) in shapes.items():
        function = getattr(glib, name)
        function.restype, function.argtypes = result, arguments
    return glib


@CFUNCTYPE(None, c_void_p, c_int, c_char_p, c_void_p)
def silence(*_):
    """GLib warns of errors of its own that stand in each other's way; they change nothing of the answers."""


def names(glib, vector):
    found, at = [], 0
    while vector[at] is not None:
        found.append(vector[at])
        at += 1
    glib.g_strfreev(vector)
    return found


def value(glib, get, file, group, key):
    error = POINTER(Error)()
    found = get(file, group, key, byref(error))
    if not error:
        return found
    glib.g_error_free(error)
    return None


def visible(text):
    return "." + "".join(chr(byte) if 0x20 < byte < 0x7F and byte != 0x5C else f"\\x{byte:02x}" for byte in text)


def string(glib, file, group, key):
    found = value(glib, glib.g_key_file_get_string, file, group, key)
    if found is None:
        return "!"
    text = ctypes.string_at(found)
    glib.g_free(found)
    return visible(text)


def number(glib, get, file, group, key):
    found = value(glib, get, file, group, key)
    return "!" if found is None else str(found)


def described(glib, file, text):
    error = POINTER(Error)()
    if not glib.g_key_file_load_from_data(
        file, text, len(text), KEEP_COMMENTS | KEEP_TRANSLATIONS, byref(error)
    ):
        glib.g_error_free(error)
        yield "refused"
        return
    numbers = [glib.g_key_file_get_boolean, glib.g_key_file_get_integer, glib.g_key_file_get_int64]
    for group in names(glib, glib.g_key_file_get_groups(file, None)):
        yield f"group {visible(group)}"
        for key in names(glib, glib.g_key_file_get_keys(file, group, None, None)):
            values = [string(glib, file, group, key)]
            values += [number(glib, get, file, group, key) for get in numbers]
            yield f"key {visible(key)} {' '.join(values)}"


def main():
    glib = library()
    glib.g_log_set_default_handler(silence, None)
    while header := sys.stdin.buffer.read(4):
        text = sys.stdin.buffer.read(int.from_bytes(header, "little"))
        file = glib.g_key_file_new()
        print("".join(f"{line}\n" for line in described(glib, file, text)), end="\0")
        glib.g_key_file_free(file)


main()
