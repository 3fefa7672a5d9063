#!/bin/sh
# Removes from a virtual environment what no step uses. For the light image, because all steps but
# training pull and start it.
#
#   shrink.sh FOLDER    (a virtual environment)
set -eu
cd "$1"/lib/python3.11/site-packages
# Tests, headers and samples. numpy.testing imports one file of numpy's tests.
find . -type d -name tests -not -path './numpy/*' -prune -exec rm -r {} +
find ./numpy -type f -path '*/tests/*' -not -name '_natype.py' -delete
rm -rf pyarrow/include pyarrow/src numpy/_core/include cv2/data matplotlib/mpl-data/sample_data sklearn/datasets/data sklearn/datasets/images
find . -type f \( -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.pyi' -o -name '*.a' -o -name '*.h' -o -name '*.c' \) -delete
# pyarrow's network libraries, and fonts for PDF and PostScript: tables are local files, and plots
# are SVG. Matplotlib imports fontTools.agl.
find fontTools -mindepth 1 -maxdepth 1 -not -name '__init__.py' -not -name agl.py -not -name misc -exec rm -r {} +
rm -rf fontTools/misc/*.so pyarrow/_flight* pyarrow/libarrow_flight* pyarrow/libarrow_python_flight* pyarrow/_s3fs* pyarrow/libarrow_s3*
# The same library under three names: two become links.
ln -sf "$(basename pyarrow/libarrow_python.so.*.*.*)" pyarrow/libarrow_python.so
find pyarrow -name 'libarrow_python.so.*' -not -name 'libarrow_python.so.*.*' -exec ln -sf "$(basename pyarrow/libarrow_python.so.*.*.*)" {} \;
# Symbols, except in libraries that patchelf bundled into their wheels: strip would damage those.
strip --strip-unneeded pyarrow/*.so* kiwisolver/*.so cryptography/hazmat/bindings/*.so
find /usr/local/lib -name 'libpython3.11.so.*' -exec strip --strip-unneeded {} +
# All fonts that plots do not use.
find matplotlib/mpl-data/fonts -type f -not -name 'DejaVuSans.ttf' -not -name 'DejaVuSans-Bold.ttf' -not -name 'LastResort*' -delete
# Replace sources by compiled modules without docstrings, under the names that Python imports
# without a source: a step starts in half the time that compiling takes. Tracebacks into libraries
# then have line numbers but no source lines. OpenCV reads its own sources.
"$1"/bin/python3 -m compileall -q -b -o 2 -j 0 .
find . -type f -name '*.py' -not -path './cv2/*' -delete
